package features

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// withCluster has the server take tokens of the cluster's ServiceAccounts.
func withCluster(s *v1alpha1.AuthorizationServer) {
	s.Spec.WorkloadIssuers = []v1alpha1.WorkloadIssuer{{Name: "cluster", Type: v1alpha1.WorkloadIssuerKubernetes}}
}

func withTokenReview(s *v1alpha1.AuthorizationServer) {
	withCluster(s)
	s.Spec.WorkloadIssuers[0].Kubernetes = &v1alpha1.KubernetesWorkloadIssuer{Verification: v1alpha1.TokenVerificationTokenReview}
}

// workloadSpec is a service that is a ServiceAccount of its namespace.
func workloadSpec(serviceAccount string) v1alpha1.OAuthClientSpec {
	return v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodWorkloadIdentity,
		WorkloadIdentities: []v1alpha1.WorkloadIdentity{{ServiceAccount: &v1alpha1.ServiceAccountIdentity{Name: serviceAccount}}},
	}
}

func createServiceAccount(env *testenv.Env, namespace, name string) *corev1.ServiceAccount {
	env.T.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	env.Create(account)
	return account
}

// requestToken returns a token of a ServiceAccount as a kubelet requests it for a Pod.
func accountToken(env *testenv.Env, account *corev1.ServiceAccount, lifetime time.Duration, audiences ...string) string {
	env.T.Helper()
	kube, err := kubernetes.NewForConfig(testenv.ControlPlane.AdminConfig())
	if err != nil {
		env.T.Fatal(err)
	}
	seconds := int64(lifetime / time.Second)
	answer, err := kube.CoreV1().ServiceAccounts(account.Namespace).CreateToken(env.T.Context(), account.Name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		env.T.Fatal(err)
	}
	return answer.Status.Token
}

// workloadToken requests an access token with the token of a workload.
func workloadToken(env *testenv.Env, token string, pairs ...string) (int, map[string]any) {
	env.T.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {oauth.AssertionTypeJWT}, "client_assertion": {token}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return env.Post("/token", nil, form)
}

func expectWorkload(env *testenv.Env, what string, status int, answer map[string]any, want int, said string) {
	env.T.Helper()
	description, _ := answer["error_description"].(string)
	if status != want || !strings.Contains(description, said) {
		env.T.Errorf("%s: the answer is %d %v, want %d %q", what, status, answer, want, said)
	}
}

func TestAPodWithoutAnySecretGetsATokenByItsServiceAccount(t *testing.T) {
	env := testenv.New(t, withCluster)
	account := createServiceAccount(env, env.AppNamespace, "billing")
	c := env.ReadyClient("billing", workloadSpec("billing"))
	token := accountToken(env, account, time.Hour, env.Issuer)

	status, answer := workloadToken(env, token)
	if status != http.StatusOK {
		t.Fatalf("the answer is %d %v", status, answer)
	}
	access, _ := answer["access_token"].(string)
	var claims jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(access, &claims); err != nil || claims["client_id"] != env.AppNamespace+".billing" {
		t.Errorf("the access token is for %v, %v", claims["client_id"], err)
	}
	// It may be sent again, at each endpoint that authenticates clients.
	assertion := url.Values{"client_assertion_type": {oauth.AssertionTypeJWT}, "client_assertion": {token}, "token": {access}}
	if status, answer := env.Post("/introspect", nil, assertion); status != http.StatusOK || answer["active"] != true {
		t.Errorf("introspection answers %d %v", status, answer)
	}
	if status, answer := env.Post("/revoke", nil, assertion); status != http.StatusOK {
		t.Errorf("revocation answers %d %v", status, answer)
	}
	if _, answer := env.Post("/introspect", nil, assertion); answer["active"] != false {
		t.Errorf("a revoked token: %v", answer)
	}

	ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionCredentialsReady)
	if ready == nil || ready.Reason != v1alpha1.ReasonNotNeeded || c.Status.SecretName != "" || len(c.Status.Credentials) != 0 {
		t.Errorf("%+v, Secret %q, credentials %v", ready, c.Status.SecretName, c.Status.Credentials)
	}
	var secrets corev1.SecretList
	if err := testenv.Kube.List(t.Context(), &secrets, client.InNamespace(env.AppNamespace)); err != nil || len(secrets.Items) != 0 {
		t.Errorf("there are %d Secrets (%v)", len(secrets.Items), err)
	}
	if status, discovery := env.Get("/.well-known/openid-configuration", ""); status != http.StatusOK || !strings.Contains(fmt.Sprint(discovery["token_endpoint_auth_methods_supported"]), "private_key_jwt") {
		t.Errorf("the discovery document has %v", discovery["token_endpoint_auth_methods_supported"])
	}
}

func TestTokensOfServiceAccountsThatAreNotMeantForTheServerAreRefused(t *testing.T) {
	env := testenv.New(t, withCluster)
	account, other := createServiceAccount(env, env.AppNamespace, "billing"), createServiceAccount(env, env.ServerNamespace, "billing")
	env.ReadyClient("billing", workloadSpec("billing"))
	exact := workloadSpec("billing")
	exact.WorkloadIdentities[0].ServiceAccount.UID = string(account.UID)
	env.ReadyClient("exact", exact)
	named := env.AppNamespace + ".exact"

	status, answer := workloadToken(env, accountToken(env, account, time.Hour, env.Issuer), "client_id", named)
	expectWorkload(env, "the right one", status, answer, http.StatusOK, "")
	for what, test := range map[string]struct {
		token, said string
	}{
		"the API server's audience": {accountToken(env, account, time.Hour), "for the audience"},
		"another audience":          {accountToken(env, account, time.Hour, env.Issuer+"/"), "for the audience"},
		"two audiences":             {accountToken(env, account, time.Hour, env.Issuer, "https://kubernetes.default.svc"), "for the audience"},
		"two hours":                 {accountToken(env, account, 2*time.Hour, env.Issuer), "at most 1h0m0s are allowed"},
		"another namespace":         {accountToken(env, other, time.Hour, env.Issuer), "there is no accepted client with this client_id"},
	} {
		status, answer := workloadToken(env, test.token, "client_id", named)
		expectWorkload(env, what, status, answer, http.StatusUnauthorized, test.said)
	}
	// Two clients of the namespace list it.
	status, answer = workloadToken(env, accountToken(env, account, time.Hour, env.Issuer))
	expectWorkload(env, "without client_id", status, answer, http.StatusUnauthorized, "more than one client")

	// A token of the server itself, whose audience is the issuer too.
	_, answer = workloadToken(env, accountToken(env, account, time.Hour, env.Issuer), "client_id", named)
	own, _ := answer["access_token"].(string)
	status, answer = workloadToken(env, own, "client_id", named)
	expectWorkload(env, "an access token of the server", status, answer, http.StatusUnauthorized, "unknown client, wrong credentials")

	// The ServiceAccount is created again: it is the one of the name, and not that of the UID.
	env.Delete(account)
	account = createServiceAccount(env, env.AppNamespace, "billing")
	again := accountToken(env, account, time.Hour, env.Issuer)
	status, answer = workloadToken(env, again, "client_id", named)
	expectWorkload(env, "another UID", status, answer, http.StatusUnauthorized, "there is no accepted client with this client_id")
	status, answer = workloadToken(env, again)
	expectWorkload(env, "the one client that wants no UID", status, answer, http.StatusOK, "")
}

func TestAServiceAccountIsAClientOfAnotherNamespaceOnlyWhereThatNamesIt(t *testing.T) {
	env := testenv.New(t, withCluster)
	account := createServiceAccount(env, env.ServerNamespace, "gateway")
	token := accountToken(env, account, time.Hour, env.Issuer)
	thief := workloadSpec("gateway")
	env.ReadyClient("thief", thief) // the ServiceAccount of that name in its own namespace
	status, answer := workloadToken(env, token, "client_id", env.AppNamespace+".thief")
	expectWorkload(env, "not named", status, answer, http.StatusUnauthorized, "there is no accepted client with this client_id")
	named := workloadSpec("gateway")
	named.WorkloadIdentities[0].ServiceAccount.Namespace = env.ServerNamespace
	env.ReadyClient("named", named)
	status, answer = workloadToken(env, token, "client_id", env.AppNamespace+".named")
	expectWorkload(env, "named", status, answer, http.StatusOK, "")
	status, answer = workloadToken(env, token)
	expectWorkload(env, "named, without client_id", status, answer, http.StatusUnauthorized, "no accepted client in the namespace of the ServiceAccount")
}

func TestAWorkloadIssuerThatIsTakenOffAListEndsWithinASecondAndIsNamedInTheCondition(t *testing.T) {
	env := testenv.New(t, withCluster, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.WorkloadIssuers = append(s.Spec.WorkloadIssuers, v1alpha1.WorkloadIssuer{
			Name: "ci", Type: v1alpha1.WorkloadIssuerJWT, JWT: &v1alpha1.JWTWorkloadIssuer{Issuer: "https://ci.example.com"},
		})
	})
	account := createServiceAccount(env, env.AppNamespace, "billing")
	c := env.ReadyClient("billing", workloadSpec("billing"))
	token := accountToken(env, account, time.Hour, env.Issuer)
	expectEnd := func(what, said string) {
		t.Helper()
		changed := time.Now()
		for {
			status, _ := workloadToken(env, token)
			if status == http.StatusUnauthorized {
				break
			}
			if time.Since(changed) > 10*time.Second {
				t.Fatalf("%s: still answered %d", what, status)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if took := time.Since(changed); took > time.Second {
			t.Errorf("%s: it took %s", what, took)
		}
		env.WaitFor("the condition of the client", c, func() bool {
			accepted := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAccepted)
			return accepted != nil && accepted.Reason == v1alpha1.ReasonNotAllowedByServer && strings.Contains(accepted.Message, said)
		})
	}
	env.Update(env.Server, func() { env.Server.Spec.AllowedClients[0].WorkloadIssuers = []string{"ci"} })
	expectEnd("the rule", `rule "apps": workloadIdentities[0]: the workload issuer "cluster" is not allowed`)
	env.Update(env.Server, func() { env.Server.Spec.AllowedClients[0].WorkloadIssuers = nil })
	env.WaitFor("the client to be Ready", c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	if status, answer := workloadToken(env, token); status != http.StatusOK {
		t.Errorf("allowed again: %d %v", status, answer)
	}
	env.Update(env.Server, func() { env.Server.Spec.WorkloadIssuers = env.Server.Spec.WorkloadIssuers[1:] })
	expectEnd("the server", "workloadIdentities[0].serviceAccount: the server has no workload issuer of type Kubernetes (ask for less, or have the server's owner allow it in spec.workloadIssuers)")
}

func TestAServerWhoseIssuerIsAnAudienceOfTheAPIServerMayNotHaveTheClusterAsWorkloadIssuer(t *testing.T) {
	env := testenv.New(t)
	server := &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "audience"},
		Spec: v1alpha1.AuthorizationServerSpec{
			Issuer: "https://kubernetes.default.svc", Deployment: v1alpha1.DeploymentSettings{Type: v1alpha1.DeploymentExternal},
		},
	}
	withCluster(server)
	env.Create(server)
	t.Cleanup(func() { _ = testenv.Kube.Delete(context.Background(), server) })
	accepted := func() *metav1.Condition {
		return meta.FindStatusCondition(server.Status.Conditions, v1alpha1.ConditionAccepted)
	}
	env.WaitFor("the condition", server, func() bool {
		return accepted() != nil && accepted().Status == metav1.ConditionFalse && accepted().Reason == v1alpha1.ReasonAudienceIsAPIServer
	})
	if said := accepted().Message; !strings.Contains(said, "spec.workloadIssuers[0]") || !strings.Contains(said, "--api-audiences") {
		t.Errorf("the message is %q", said)
	}
	env.Update(server, func() { server.Spec.WorkloadIssuers = nil })
	env.WaitFor("the server without the cluster as workload issuer", server, func() bool { return testenv.IsTrue(server.Status.Conditions, v1alpha1.ConditionAccepted) })
}

// A user who may name an API, or a client id of their own, must not be able to hold up the server by that.
func TestWhoTakesTheNameOfTheClustersIssuerHoldsUpNeitherTheServerNorItsWorkloads(t *testing.T) {
	env := testenv.New(t, withCluster)
	account := createServiceAccount(env, env.AppNamespace, "billing")
	env.ReadyClient("billing", workloadSpec("billing"))
	token := accountToken(env, account, time.Hour, env.Issuer)
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		t.Fatal(err)
	}
	env.ReadyAPI(claims.Issuer, []string{"cluster:read"})
	env.Update(env.Server, func() {
		env.Server.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: 77 * time.Second}}
	})
	env.Eventually("the change of the server is in force", 30*time.Second, func() (bool, string) {
		status, answer := workloadToken(env, token)
		return status == http.StatusOK && answer["expires_in"] == float64(77), fmt.Sprint(status, answer)
	})
	env.WaitFor("the server to be accepted", env.Server, func() bool { return testenv.IsTrue(env.Server.Status.Conditions, v1alpha1.ConditionAccepted) })
}

// The API server is started again and signs with another key from then on: tokens by the old key and
// by the new one are good, while it is away and after it.
func TestARotationOfTheClustersKeysFailsNoAuthentication(t *testing.T) {
	env := testenv.New(t, withCluster)
	account := createServiceAccount(env, env.AppNamespace, "billing")
	env.ReadyClient("billing", workloadSpec("billing"))
	old := accountToken(env, account, time.Hour, env.Issuer)
	var mu sync.Mutex
	tokens, kids := []string{old}, map[string]int{}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var failures []string
	for range 4 {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				mu.Lock()
				token := tokens[i%len(tokens)]
				mu.Unlock()
				status, answer := workloadToken(env, token)
				mu.Lock()
				if status != http.StatusOK {
					failures = append(failures, fmt.Sprintf("%s: %d %v", time.Now(), status, answer))
				}
				kids[kidOf(t, token)]++
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for range 2 {
		if err := testenv.ControlPlane.RotateServiceAccountKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		token := accountToken(env, account, time.Hour, env.Issuer)
		mu.Lock()
		tokens = append(tokens, token)
		mu.Unlock()
		time.Sleep(11 * time.Second) // the least time between two fetches for unknown keys
	}
	stop()
	clients.Wait()
	if len(kids) != 3 {
		t.Errorf("tokens by %d keys were used: %v", len(kids), kids)
	}
	if len(failures) > 0 {
		t.Errorf("%d authentications failed: %v", len(failures), failures[:min(3, len(failures))])
	}
	t.Logf("authentications by key: %v", kids)
}

func kidOf(t *testing.T, token string) string {
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Error(err)
		return ""
	}
	kid, _ := parsed.Header["kid"].(string)
	return kid
}

// countTokenReviews returns how many TokenReviews the API server has answered.
func countTokenReviews(env *testenv.Env) int {
	env.T.Helper()
	kube, err := kubernetes.NewForConfig(testenv.ControlPlane.AdminConfig())
	if err != nil {
		env.T.Fatal(err)
	}
	metrics, err := kube.RESTClient().Get().AbsPath("/metrics").DoRaw(env.T.Context())
	if err != nil {
		env.T.Fatal(err)
	}
	total := 0
	for line := range bytes.Lines(metrics) {
		var count float64
		if !bytes.HasPrefix(line, []byte("apiserver_request_total{")) || !bytes.Contains(line, []byte(`resource="tokenreviews"`)) {
			continue
		}
		if _, err := fmt.Sscan(string(line[bytes.LastIndexByte(line, '}')+1:]), &count); err != nil {
			env.T.Fatal(err)
		}
		total += int(count)
	}
	return total
}

func TestWithTokenReviewATokenEndsWithItsServiceAccount(t *testing.T) {
	env := testenv.New(t, withTokenReview)
	account := createServiceAccount(env, env.AppNamespace, "billing")
	env.ReadyClient("billing", workloadSpec("billing"))
	token := accountToken(env, account, time.Hour, env.Issuer)

	// The right is missing at first, and that is said.
	status, answer := workloadToken(env, token)
	expectWorkload(env, "without the right", status, answer, http.StatusServiceUnavailable, "cannot be reviewed now")
	env.WaitFor("the condition that says what is missing", env.Server, func() bool {
		available := meta.FindStatusCondition(env.Server.Status.Conditions, v1alpha1.ConditionAvailable)
		return available != nil && strings.Contains(available.Message, "bind the ClusterRole oauth-operator-token-reviewer")
	})
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: env.ServerNamespace + "-token-reviewer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-token-reviewer"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: env.ServerNamespace, Name: "main-tokenserver"}},
	}
	env.Create(binding)
	t.Cleanup(func() { _ = testenv.Kube.Delete(context.Background(), binding) })
	env.Eventually("the right is there", 10*time.Second, func() (bool, string) {
		status, answer := workloadToken(env, token)
		return status == http.StatusOK, fmt.Sprint(status, answer)
	})
	env.WaitFor("the condition that says nothing any more", env.Server, func() bool {
		available := meta.FindStatusCondition(env.Server.Status.Conditions, v1alpha1.ConditionAvailable)
		return available != nil && !strings.Contains(available.Message, "token-reviewer")
	})

	// What is not signed by the cluster, or not for the server, or no client's, is not reviewed.
	before := countTokenReviews(env)
	refused := []string{
		accountToken(env, account, time.Hour), accountToken(env, account, time.Hour, env.Issuer, "https://kubernetes.default.svc"),
		accountToken(env, createServiceAccount(env, env.AppNamespace, "unlisted"), time.Hour, env.Issuer),
	}
	for i := range 10_000 {
		garbage := fmt.Sprintf("%s%06d", token[:len(token)-6], i)
		if i < len(refused) {
			garbage = refused[i]
		}
		if status, answer := workloadToken(env, garbage); status != http.StatusUnauthorized {
			t.Fatalf("garbage is answered %d %v", status, answer)
		}
	}
	if after := countTokenReviews(env); after != before {
		t.Errorf("garbage caused %d TokenReviews", after-before)
	}

	testenv.ControlPlane.StopAPIServer()
	time.Sleep(11 * time.Second) // what was answered counts for ten seconds
	status, answer = workloadToken(env, token)
	if err := testenv.ControlPlane.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectWorkload(env, "without the API server", status, answer, http.StatusServiceUnavailable, "cannot be reviewed now")
	env.Eventually("the API server is back", 10*time.Second, func() (bool, string) {
		status, answer := workloadToken(env, token)
		return status == http.StatusOK, fmt.Sprint(status, answer)
	})

	env.Delete(account)
	deleted := time.Now()
	env.Eventually("the token ends", 75*time.Second, func() (bool, string) {
		status, answer := workloadToken(env, token)
		return status == http.StatusUnauthorized && strings.Contains(fmt.Sprint(answer["error_description"]), "was deleted"), fmt.Sprint(status, maps.Clone(answer))
	})
	t.Logf("refused %s after the ServiceAccount was deleted", time.Since(deleted))
}
