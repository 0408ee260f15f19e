//go:build postgres

package features

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// inPostgreSQL makes the server of an Env keep its records in the database whose DSN is in the
// Secret "database".
func inPostgreSQL(server *v1alpha1.AuthorizationServer) {
	server.Spec.Storage = &v1alpha1.StorageSettings{
		Type:       v1alpha1.StoragePostgreSQL,
		PostgreSQL: &v1alpha1.PostgreSQLSettings{SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "uri"}},
	}
}

// withDSN puts the DSN of a database where the server of an Env looks for it.
func withDSN(t *testing.T, dsn string) func(*v1alpha1.AuthorizationServer) {
	return func(server *v1alpha1.AuthorizationServer) {
		t.Helper()
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: server.Namespace, Name: "database"}, StringData: map[string]string{"uri": dsn},
		}
		if err := testenv.Kube.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
	}
}

func changeDSN(env *testenv.Env, dsn string) {
	env.T.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "database"}}
	env.Update(secret, func() { secret.StringData = map[string]string{"uri": dsn} })
}

// checkCondition waits until a condition of the server has the reason and a message with the text,
// and returns it.
func checkCondition(env *testenv.Env, server *v1alpha1.AuthorizationServer, kind, reason, text string) *metav1.Condition {
	env.T.Helper()
	var c *metav1.Condition
	env.WaitFor(fmt.Sprintf("%s with the reason %s and %q", kind, reason, text), server, func() bool {
		c = meta.FindStatusCondition(server.Status.Conditions, kind)
		return c != nil && c.Reason == reason && strings.Contains(c.Message, text)
	})
	return c
}

func TestAServerKeepsItsRecordsInPostgreSQL(t *testing.T) {
	database := postgrestest.Start(t, "synchronous_commit=on")
	env := testenv.New(t, inPostgreSQL, withDSN(t, database.DSN("postgres")), rotateAlways)
	users := passwordClient(env)
	before := passwordTokens(env, users, testenv.Username)
	secrets := []string{testenv.Password, users.ClientSecret, before.AccessToken, before.RefreshToken, postgrestest.Password}
	if n := postgrestest.QueryValue[int](t, database, "postgres", "SELECT count(*) FROM oauth_grants"); n != 1 {
		t.Errorf("the database holds %d grants, want 1", n)
	}
	objects := &v1alpha1.OAuthGrantList{}
	if err := testenv.Kube.List(t.Context(), objects, client.InNamespace(env.ServerNamespace)); err != nil || len(objects.Items) > 0 {
		t.Errorf("the cluster holds %d grants: %v", len(objects.Items), err)
	}

	web := env.Config(env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "offline_access"},
	}), "openid", "offline_access")
	verifier := oauth2.GenerateVerifier()
	code := env.SignIn(web.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier))).Query().Get("code")
	redemption := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {env.Callback}, "code_verifier": {verifier}, "code": {code}}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {before.RefreshToken}}
	secrets = append(secrets, code, verifier, web.ClientSecret)

	// The database goes away in the middle of a flow.
	server := replica(env)
	pid := server.PID()
	database.Kill()
	env.Eventually("the condition to tell that the database is away", 30*time.Second, func() (bool, string) {
		withoutDatabase(env, map[*oauth2.Config]url.Values{web: redemption, users: refresh})
		if status, answer := env.Post("/introspect", users, url.Values{"token": {before.AccessToken}}); status != http.StatusServiceUnavailable {
			t.Fatalf("introspection is answered %d %v", status, answer)
		}
		if err := testenv.Kube.Get(t.Context(), client.ObjectKeyFromObject(env.Server), env.Server); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(env.Server.Status.Conditions, v1alpha1.ConditionAvailable)
		return c != nil && c.Status == metav1.ConditionTrue && strings.Contains(c.Message, "PostgreSQL at "+database.Address()), c.Message
	})
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}

	status, answer := env.Post("/token", web, redemption)
	if status != http.StatusOK {
		t.Fatalf("with the database back, the code is answered %d %v", status, answer["error"])
	}
	ofCode, _ := answer["access_token"].(string)
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		token, _ := answer[name].(string)
		secrets = append(secrets, token)
	}
	status, answer = env.Post("/token", users, refresh)
	if status != http.StatusOK {
		t.Fatalf("with the database back, the refresh token is answered %d %v", status, answer["error"])
	}
	for _, name := range []string{"access_token", "refresh_token"} {
		token, _ := answer[name].(string)
		secrets = append(secrets, token)
	}
	if now := server.PID(); now != pid {
		t.Errorf("the token server was restarted: it was process %d and is %d", pid, now)
	}
	// The code a second time ends what it began.
	if status, answer := env.Post("/token", web, redemption); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("the code a second time is answered %d %v", status, answer["error"])
	}
	if env.IsActive(web, ofCode) {
		t.Error("the tokens of a code that was replayed are active")
	}
	checkCondition(env, env.Server, v1alpha1.ConditionAvailable, v1alpha1.ReasonAvailable, "a token server is ready")
	holdsNone(t, database.Dump(t, "postgres"), secrets)
	for _, password := range []string{postgrestest.Password, url.QueryEscape(postgrestest.Password)} {
		if strings.Contains(testenv.Logs.String(), password) {
			t.Error("the password of the database is in a log")
		}
	}
}

// withoutDatabase: what takes a record is refused for now and uses nothing up, and the rest goes
// on.
func withoutDatabase(env *testenv.Env, requests map[*oauth2.Config]url.Values) {
	env.T.Helper()
	for c, form := range requests {
		if status, answer := env.Post("/token", c, form); status != http.StatusServiceUnavailable || answer["error"] != "temporarily_unavailable" {
			env.T.Fatalf("%s is answered %d %v", form.Get("grant_type"), status, answer["error"])
		}
	}
	for _, path := range []string{"/jwks", "/.well-known/openid-configuration"} {
		if status, _ := env.Get(path, ""); status != http.StatusOK {
			env.T.Fatalf("%s is answered %d", path, status)
		}
	}
	if status, said := probe(env, replica(env).Status(), "/readyz"); status != http.StatusOK {
		env.T.Fatalf("/readyz is answered %d %s", status, said)
	}
}

// holdsNone looks for secrets in a dump of the database.
func holdsNone(t *testing.T, dump string, secrets []string) {
	t.Helper()
	if !strings.Contains(dump, testenv.Subject) {
		t.Fatal("the dump is not one of the database")
	}
	for i, secret := range secrets {
		if secret == "" {
			t.Errorf("secret %d is empty: an answer lacks a token", i)
		} else if strings.Contains(dump, secret) {
			t.Errorf("the database holds %q", secret)
		}
	}
}

func TestAWrongDSNShowsInAConditionAndTheServerIsNotReady(t *testing.T) {
	database := postgrestest.Start(t)
	good := database.DSN("postgres")
	env := testenv.New(t, inPostgreSQL, withDSN(t, good))
	users := passwordClient(env)
	passwordTokens(env, users, testenv.Username)
	for _, test := range []struct{ name, dsn, want string }{
		{"a wrong password", strings.Replace(good, "s3cret", "wrong", 1), `refuses the user "postgres" of the DSN or its password`},
		{"a database that is not there", strings.Replace(good, "/postgres?", "/nowhere?", 1), `no database "nowhere"`},
		{"no DSN", "s3cret", "write postgres://user:password@host"},
	} {
		changeDSN(env, test.dsn)
		c := checkCondition(env, env.Server, v1alpha1.ConditionAvailable, v1alpha1.ReasonReplicaProblem, test.want)
		if c.Status != metav1.ConditionFalse || strings.Contains(c.Message, "s3cret") || strings.Contains(c.Message, "wrong%2F") {
			t.Errorf("%s: Available is %s: %s", test.name, c.Status, c.Message)
		}
		if status, said := probe(env, replica(env).Status(), "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(said, test.want) {
			t.Errorf("%s: /readyz is answered %d %s", test.name, status, said)
		}
	}
	changeDSN(env, good)
	checkCondition(env, env.Server, v1alpha1.ConditionAvailable, v1alpha1.ReasonAvailable, "")
	passwordTokens(env, users, testenv.Username)
}

func TestASecretWithoutADSNIsReported(t *testing.T) {
	env := testenv.New(t)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "second"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: fmt.Sprintf("http://127.0.0.1:%d", port)},
	}
	inPostgreSQL(server)
	env.Create(server)
	t.Cleanup(func() { _ = testenv.Kube.Delete(context.Background(), server) }) // the machine is too small for the servers of all tests
	const field = "spec.storage.postgreSQL.secretRef: "
	checkCondition(env, server, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonSecretNotFound, field+`there is no Secret "database"`)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "database"}, StringData: map[string]string{"url": "x"}}
	env.Create(secret)
	checkCondition(env, server, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonSecretNotFound, `has no key "uri"`)
	env.Update(secret, func() { secret.StringData = map[string]string{"uri": "x"} })
	checkCondition(env, server, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "")
}

func TestWhatTheOwnerSaysOfAUserFromElsewhereHoldsWithStorageInPostgreSQLAndOutlivesTheRecord(t *testing.T) {
	database := postgrestest.Start(t, "synchronous_commit=on")
	b := newBridge(t, inPostgreSQL, withDSN(t, database.DSN("postgres")))
	withoutRecords(t, b)

	config := b.webClientNamed("later")
	token, claims := b.tokens(config)
	subject, _ := claims["sub"].(string)
	identity := b.identity(subject)
	identity.Spec.Suspended = true
	b.env.Create(identity)
	inactiveWithinASecond(b.env, config, token.AccessToken)
	postgrestest.QueryValue[int](t, database, "postgres", "WITH lost AS (DELETE FROM oauth_identities RETURNING 1) SELECT count(*) FROM lost")
	if !b.isRefused(config) {
		t.Error("a suspended user whose record was lost has signed in")
	}
	b.env.Update(identity, func() { identity.Spec.Suspended = false })
	b.env.Eventually("the user to sign in", 5*time.Second, func() (bool, string) { return !b.isRefused(config), "it is refused" })
	if b.env.IsActive(config, token.AccessToken) {
		t.Error("what was issued under the record that was lost is good again")
	}
}
