package bench

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	secrets := watchSecrets(b, env)
	l, err := dial(hostOf(env.Issuer))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()

	var took []time.Duration
	for i := range clients + warm {
		began := time.Now()
		env.CreateClient(fmt.Sprintf("client-%d", i), service)
		secret := <-secrets
		request := tokenRequest(env, &oauth2.Config{
			ClientID: string(secret.Data["client_id"]), ClientSecret: string(secret.Data["client_secret"]),
		})
		for {
			a, err := l.send(request)
			if err != nil {
				b.Fatal(err)
			}
			if a.status == http.StatusOK {
				break
			}
			if a.status != http.StatusUnauthorized || time.Since(began) > time.Minute {
				b.Fatalf("client-%d: answered %d %s", i, a.status, a.body)
			}
			time.Sleep(time.Millisecond)
		}
		if i >= warm {
			took = append(took, time.Since(began))
		}
	}
	percentiles := percentilesOf(took)
	table.add(b, results.Row{
		Group: managerRows, Name: "an OAuthClient is applied, until its first token: p99", Unit: "ms",
		Value: percentiles["p99"], Percentiles: percentiles, Target: atMost(100),
	})
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
