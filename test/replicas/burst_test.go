package replicas

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// withShortLifetimes gives codes and tokens the shortest lifetimes.
func withShortLifetimes(server *v1alpha1.AuthorizationServer) {
	second := &metav1.Duration{Duration: time.Second}
	server.Spec.Tokens = &v1alpha1.TokenSettings{
		AccessTokenLifetime: second, AuthorizationCodeLifetime: &metav1.Duration{Duration: 10 * time.Second},
		RefreshToken: &v1alpha1.RefreshTokenSettings{IdleLifetime: second, AbsoluteLifetime: second, ReuseGracePeriod: &metav1.Duration{}},
	}
}

// objects of the server's namespace that logins make.
func (s *replicatedServer) objects() int {
	s.T.Helper()
	var marks internalv1alpha1.MarkList
	if err := testenv.Kube.List(s.T.Context(), &marks, client.InNamespace(s.ServerNamespace)); err != nil {
		s.T.Fatal(err)
	}
	return len(s.grants()) + len(marks.Items)
}

func TestOfABurstOfLoginsNothingIsLeft(t *testing.T) {
	t.Parallel()
	s := newReplicatedServer(t, withShortLifetimes)
	before := s.objects()
	began := time.Now()
	for i := range *logins {
		code, verifier := s.authorize()
		if a := s.post(i, "/token", redemption(s, code, verifier)); a.status != http.StatusOK {
			t.Fatalf("login %d is answered %d %v (%v)", i, a.status, a.body, a.err)
		}
	}
	most := s.objects()
	took := time.Since(began)
	if most == before {
		t.Fatal("logins leave no records")
	}
	began = time.Now()
	s.Eventually("the records to be gone", 4*time.Minute, func() (bool, string) {
		time.Sleep(500 * time.Millisecond)
		return s.objects() == before, "some are there"
	})
	t.Logf("%d logins in %s, %d objects at the end of them, gone %s later", *logins, took, most, time.Since(began))
}
