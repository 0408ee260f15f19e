package identity_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane/controlplanetest"
	"github.com/oauth-operator/oauth-operator/hack/local/identity"
)

func TestATokenIsRenewedAndFollowsItsServiceAccount(t *testing.T) {
	cp := controlplanetest.Start(t)
	client, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	create := func() *corev1.ServiceAccount {
		made, err := client.CoreV1().ServiceAccounts("default").Create(t.Context(),
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}

	everySecond := func(time.Time) time.Duration { return time.Second }
	kept, err := identity.Keep(t.Context(), cp.AdminConfig(), "default", "robot", t.TempDir(), os.Stderr, everySecond)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-kept.Ready():
		t.Fatal("there is a token before there is a ServiceAccount")
	case <-time.After(500 * time.Millisecond):
	}

	first := create()
	<-kept.Ready()
	token := read(t, kept)
	if uid, err := whose(t, client, token); err != nil || uid != string(first.UID) {
		t.Fatalf("the first token is %s's (%v), want %s's", uid, err, first.UID)
	}
	waitForOther(t, kept, token)

	if err := client.CoreV1().ServiceAccounts("default").Delete(t.Context(), "robot", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	second := create()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		uid, err := whose(t, client, read(t, kept))
		if err == nil && uid == string(second.UID) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the token is %s's (%v) after the ServiceAccount was created again as %s", uid, err, second.UID)
		}
	}
}

func read(t *testing.T, kept *identity.ServiceAccount) string {
	t.Helper()
	token, err := os.ReadFile(kept.Token())
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

func waitForOther(t *testing.T, kept *identity.ServiceAccount, than string) {
	t.Helper()
	for range 500 {
		if read(t, kept) != than {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the token is not renewed")
}

// whose is the UID of the ServiceAccount that the API server takes the bearer of the token for.
func whose(t *testing.T, client kubernetes.Interface, token string) (string, error) {
	t.Helper()
	review, err := client.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	if !review.Status.Authenticated {
		return "", fmt.Errorf("refused: %s", review.Status.Error)
	}
	return review.Status.User.UID, nil
}
