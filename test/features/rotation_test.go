package features

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// mountedSecret is the client's Secret as an application has it: a file that follows the Secret
// after a while, and stays as it is while there is no Secret.
type mountedSecret struct {
	mu     sync.Mutex
	config oauth2.Config
}

func (m *mountedSecret) read() *oauth2.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.config
	return &c
}

// sync reads the Secret.
func (m *mountedSecret) sync(env *testenv.Env, c *v1alpha1.OAuthClient) error {
	var secret corev1.Secret
	err := testenv.Kube.Get(env.T.Context(), client.ObjectKey{Namespace: c.Namespace, Name: c.Name + "-oauth"}, &secret)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config.ClientSecret = string(secret.Data["client_secret"])
	return nil
}

// load sends 20 token requests a second until it is stopped, and counts the failed ones.
type load struct {
	requests, failed int
	failure          string
	stop             func()
}

func startLoad(env *testenv.Env, config func() *oauth2.Config) *load {
	l, done, ended := &load{}, make(chan struct{}), make(chan struct{})
	l.stop = sync.OnceFunc(func() { close(done); <-ended })
	env.T.Cleanup(l.stop)
	go func() {
		defer close(ended)
		for ticker := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-done:
				ticker.Stop()
				return
			case <-ticker.C:
			}
			l.requests++
			if status, code := serviceToken(env, config()); status != http.StatusOK {
				l.failed++
				l.failure = fmt.Sprintf("%s: %d %s", time.Now().Format(time.TimeOnly), status, code)
			}
		}
	}()
	return l
}

// waitForSecret waits until the client is Ready and its Secret has another value than before.
func waitForSecret(env *testenv.Env, c *v1alpha1.OAuthClient, before string, timeout time.Duration) string {
	env.T.Helper()
	var value string
	env.Eventually("another value in the Secret", timeout, func() (bool, string) {
		var secret corev1.Secret
		err := testenv.Kube.Get(env.T.Context(), client.ObjectKey{Namespace: c.Namespace, Name: c.Name + "-oauth"}, &secret)
		if err != nil && !apierrors.IsNotFound(err) {
			env.T.Fatal(err)
		}
		value = string(secret.Data["client_secret"])
		return value != "" && value != before, fmt.Sprint(err)
	})
	env.WaitFor("the client to be Ready", c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	return value
}

func TestAClientThatReadsItsMountedSecretMissesNoRequestInThreeRotationsAndADeletion(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("service", serviceSpec)
	mounted := &mountedSecret{config: *env.Config(c)}
	running := startLoad(env, mounted.read)
	synced := make(chan struct{})
	mountedBy := c.DeepCopy() // c is read again meanwhile
	go func() {               // as the kubelet does, only more often
		defer close(synced)
		for t.Context().Err() == nil {
			time.Sleep(2 * time.Second)
			if err := mounted.sync(env, mountedBy); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		}
	}()
	value := mounted.read().ClientSecret
	for revision := range int64(3) {
		env.Update(c, func() {
			c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Rotation: &v1alpha1.SecretRotation{Revision: revision + 1}}
		})
		value = waitForSecret(env, c, value, 10*time.Second)
		time.Sleep(3 * time.Second) // the application has read it
	}
	if len(c.Status.Credentials) != 4 {
		env.WaitFor("all four credentials in the status", c, func() bool { return len(c.Status.Credentials) == 4 })
	}
	env.Delete(&corev1.Secret{ObjectMeta: env.SecretOf(c).ObjectMeta})
	env.WaitFor("the fourth to wait for a minute", c, func() bool {
		ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionCredentialsReady)
		return ready != nil && ready.Reason == v1alpha1.ReasonRotationLimited
	})
	waitForSecret(env, c, value, 70*time.Second)
	time.Sleep(3 * time.Second)
	running.stop()
	if running.failed > 0 || running.requests < 100 {
		t.Errorf("%d of %d requests failed; the last %s", running.failed, running.requests, running.failure)
	}
	t.Logf("%d requests", running.requests)
}

func TestAnEditOfTheValueByHandFailsNoClientThatHadReadItBefore(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("service", serviceSpec)
	before := env.Config(c)
	running := startLoad(env, func() *oauth2.Config { return before })
	secret := env.SecretOf(c)
	const typed = "typed-by-hand-and-long-enough-to-be-a-secret"
	env.Update(secret, func() { secret.Data["client_secret"] = []byte(typed) })
	env.Eventually("the value to be replaced", 10*time.Second, func() (bool, string) {
		now := string(env.SecretOf(c).Data["client_secret"])
		return now != typed && now != before.ClientSecret, ""
	})
	byHand := *before
	byHand.ClientSecret = typed
	if status, code := serviceToken(env, &byHand); status != http.StatusUnauthorized {
		t.Errorf("what was typed by hand is answered %d %s", status, code)
	}
	servedWithinASecond(env, env.Config(c))
	time.Sleep(2 * time.Second)
	running.stop()
	if running.failed > 0 || running.requests == 0 {
		t.Errorf("%d of %d requests failed; the last %s", running.failed, running.requests, running.failure)
	}
}

func TestARevokedSecretIsRefusedWithinASecondAndItsSuccessorServed(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("service", serviceSpec)
	leaked := env.Config(c)
	servedWithinASecond(env, leaked)
	env.Update(c, func() {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, RevokedCredentials: []string{c.Status.Credentials[0].ID}}
	})
	refusedWithinASecond(env, leaked)
	waitForSecret(env, c, leaked.ClientSecret, 10*time.Second)
	servedWithinASecond(env, env.Config(c))
	refusedWithinASecond(env, leaked)
}
