package features

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// Manifest in, answers out, for the server, the client and the user in turn.
func TestTokensNotBeforeVoidsWithinASecondWhatWasIssuedAndALowerTimeDoesNot(t *testing.T) {
	env := testenv.New(t)
	config := passwordClient(env)
	u, c := env.User, &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: "trusted"}}
	userInfo := func(token string, want int) func() (bool, string) {
		return func() (bool, string) {
			status, _ := env.Get("/userinfo", token)
			return status == want, http.StatusText(status)
		}
	}
	for name, set := range map[string]func(*metav1.Time){
		"server": func(at *metav1.Time) { env.Update(env.Server, func() { env.Server.Spec.TokensNotBefore = at }) },
		"client": func(at *metav1.Time) { env.Update(c, func() { c.Spec.TokensNotBefore = at }) },
		"user":   func(at *metav1.Time) { env.Update(u, func() { u.Spec.TokensNotBefore = at }) },
	} {
		token := passwordTokens(env, config, testenv.Username).AccessToken
		env.Eventually(name+": the token works", time.Second, userInfo(token, http.StatusOK))
		now := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
		set(&now)
		env.Eventually(name+": it is void", time.Second, userInfo(token, http.StatusUnauthorized))
		time.Sleep(2 * time.Second)
		later := passwordTokens(env, config, testenv.Username).AccessToken
		env.Eventually(name+": a later one works", time.Second, userInfo(later, http.StatusOK))
		set(nil)
		env.Eventually(name+": it is good again", time.Second, userInfo(token, http.StatusOK))
	}
	token := passwordTokens(env, config, testenv.Username).AccessToken
	env.Update(u, func() { u.Spec.Suspended = true })
	env.Eventually("the token of a suspended user is of no use", time.Second, userInfo(token, http.StatusUnauthorized))
	env.Update(u, func() { u.Spec.Suspended = false })
	env.Eventually("it is good again", time.Second, userInfo(token, http.StatusOK))
}
