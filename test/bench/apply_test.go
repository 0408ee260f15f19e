package bench

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func objectKey(o client.Object) client.ObjectKey { return client.ObjectKeyFromObject(o) }

// BenchmarkApply is the time from applying an OAuthClient to a token that it got with the Secret
// that the operator wrote for it.
func BenchmarkApply(b *testing.B) {
	const clients, warm = 200, 10
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	a := startApplying(b, env)
	for range warm {
		a.apply(b)
	}
	var took []time.Duration
	for range clients {
		took = append(took, a.apply(b))
	}
	percentiles := percentilesOf(took)
	table.add(b, results.Row{
		Group: managerRows, Name: "an OAuthClient is applied, until its first token: p99", Unit: "ms",
		Value: percentiles["p99"], Percentiles: percentiles, Target: atMost(100),
	})
}

// BenchmarkApplyInACrowd is the same while 2,000 others are applied in another namespace.
func BenchmarkApplyInACrowd(b *testing.B) {
	const others = 2000
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope}, func(r *v1alpha1.ResourceServer) {
		r.Spec.AllowedClients = []v1alpha1.ResourceClientRule{{Name: "all", Namespaces: &v1alpha1.RuleNamespaces{From: v1alpha1.NamespacesAll}}}
	})
	namespace := env.AppNamespace + "-crowd"
	env.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"apps-of": env.ServerNamespace}}})
	a := startApplying(b, env)
	a.apply(b)
	ready, wait := make(chan struct{}), untilReady(b, namespace, others)
	go func() {
		defer close(ready)
		createAll(b, 0, others, func(i int) client.Object { return newClientIn(namespace, env, i) })
		wait()
	}()
	var took []time.Duration
	for isOver := false; !isOver; {
		took = append(took, a.apply(b))
		select {
		case <-ready:
			isOver = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	percentiles := percentilesOf(took)
	table.add(b, results.Row{
		Group: managerRows, Name: "the same while 2,000 others are applied in another namespace: p99", Unit: "ms",
		Value: percentiles["p99"], Percentiles: percentiles, Turns: len(took), Target: atMost(1000),
	})
}

// applying applies OAuthClients one after the other, and gets a token for each.
type applying struct {
	env     *testenv.Env
	secrets <-chan *corev1.Secret
	*connection
	applied int
}

func startApplying(b *testing.B, env *testenv.Env) *applying {
	b.Helper()
	l, err := dial(hostOf(env.Issuer))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return &applying{env: env, secrets: watchSecrets(b, env), connection: l}
}

// apply returns how long it takes until the next client has a token.
func (a *applying) apply(b *testing.B) time.Duration {
	b.Helper()
	a.applied++
	began := time.Now()
	a.env.CreateClient(fmt.Sprintf("client-%d", a.applied), service)
	secret := <-a.secrets
	request := tokenRequest(a.env, &oauth2.Config{
		ClientID: string(secret.Data["client_id"]), ClientSecret: string(secret.Data["client_secret"]),
	})
	for {
		answer, err := a.send(request)
		switch {
		case err != nil:
			b.Fatal(err)
		case answer.status == http.StatusOK:
			return time.Since(began)
		case answer.status != http.StatusUnauthorized || time.Since(began) > time.Minute:
			b.Fatalf("client-%d: answered %d %s", a.applied, answer.status, answer.body)
		}
		time.Sleep(time.Millisecond)
	}
}

// watchSecrets gives each Secret of the app team's namespace, as soon as the client's secret is in
// it.
func watchSecrets(b *testing.B, env *testenv.Env) <-chan *corev1.Secret {
	b.Helper()
	kube, err := client.NewWithWatch(testenv.ControlPlane.AdminConfig(), client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	events, err := kube.Watch(ctx, &corev1.SecretList{}, client.InNamespace(env.AppNamespace))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(events.Stop)
	filled := make(chan *corev1.Secret, 1)
	go func() {
		known := map[string]bool{}
		for e := range events.ResultChan() {
			if secret, ok := e.Object.(*corev1.Secret); ok && !known[secret.Name] && len(secret.Data["client_secret"]) > 0 {
				known[secret.Name] = true
				filled <- secret
			}
		}
	}()
	return filled
}
