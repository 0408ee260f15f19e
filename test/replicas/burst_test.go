package replicas

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	served "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/world"
)

// brief makes everything end at once that may.
func brief(server *v1alpha1.AuthorizationServer) {
	second := &metav1.Duration{Duration: time.Second}
	server.Spec.Tokens = &v1alpha1.TokenSettings{
		AccessTokenLifetime: second, AuthorizationCodeLifetime: &metav1.Duration{Duration: 10 * time.Second},
		RefreshToken: &v1alpha1.RefreshTokenSettings{IdleLifetime: second, AbsoluteLifetime: second, ReuseGracePeriod: &metav1.Duration{}},
	}
}

// objects of the server's namespace that logins make.
func (e *estate) objects() int {
	e.T.Helper()
	var marks served.MarkList
	if err := world.Kube.List(e.T.Context(), &marks, client.InNamespace(e.Identity)); err != nil {
		e.T.Fatal(err)
	}
	return len(e.grants()) + len(marks.Items)
}

func TestOfABurstOfLoginsNothingIsLeft(t *testing.T) {
	t.Parallel()
	e := newEstate(t, brief)
	before := e.objects()
	began := time.Now()
	for i := range *logins {
		code, verifier := e.code()
		if a := e.post(i, "/token", redemption(e, code, verifier)); a.status != http.StatusOK {
			t.Fatalf("login %d is answered %d %v (%v)", i, a.status, a.body, a.err)
		}
	}
	most := e.objects()
	took := time.Since(began)
	if most == before {
		t.Fatal("logins leave no records")
	}
	began = time.Now()
	e.Eventually("the records to be gone", 4*time.Minute, func() (bool, string) {
		time.Sleep(500 * time.Millisecond)
		return e.objects() == before, "some are there"
	})
	t.Logf("%d logins in %s, %d objects at the end of them, gone %s later", *logins, took, most, time.Since(began))
}
