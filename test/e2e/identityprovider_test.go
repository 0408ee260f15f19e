//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// portal is a server whose users sign in at the one of testdata/staff.yaml, whose Service has that address, and a client of it.
const portal = `
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: portal, namespace: identity}
spec:
  secretName: portal-tls
  dnsNames: [portal-tokenserver.identity.svc]
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  issuerRef: {name: authority, kind: Issuer, group: cert-manager.io}
---
apiVersion: oauth-operator.dev/v1alpha1
kind: AuthorizationServer
metadata: {name: portal, namespace: identity}
spec:
  issuer: https://portal-tokenserver.identity.svc
  tls: {secretName: portal-tls}
  fetch: {allowedNetworks: [%s/32]}
  allowedClients:
  - name: apps
    namespaces: {from: Selector, selector: {matchLabels: {team: apps}}}
    grantTypes: [authorization_code]
    consent: [Skip]
    identityProviders: [staff]
---
apiVersion: oauth-operator.dev/v1alpha1
kind: OAuthClient
metadata: {name: shop, namespace: apps}
spec:
  serverRef: {name: portal, namespace: identity}
  grantTypes: [authorization_code]
  tokenEndpointAuthMethod: client_secret_basic
  redirectURIs: ["https://app.example.com/callback"]
  scopes: [openid]
  consent: Skip
`

const staffProvider = `
apiVersion: oauth-operator.dev/v1alpha1
kind: IdentityProvider
metadata: {name: staff, namespace: identity}
spec:
  serverRef: {name: portal}
  clients: Listed
  type: OIDC
  oidc:
    issuer: https://staff-tokenserver.identity.svc
    clientID: apps.bridge
    clientSecretRef: {name: bridge, key: secret}
    scopes: [groups]
  caBundle: {configMapRef: {name: authority, key: ca.crt}}
  allow: '"employees" in upstream.groups'
`

const bridgeSecret = `
apiVersion: v1
kind: Secret
metadata: {name: bridge, namespace: %s}
stringData: {secret: %q}
`

var portalLabels = client.MatchingLabels{"app.kubernetes.io/name": "tokenserver", "app.kubernetes.io/instance": "portal"}

func TestACredentialForAnIdentityProviderReachesRunningPodsAndSoDoesTheNext(t *testing.T) {
	readyPortal(t)
	before := portalPods(t)
	agreeUpon(t, "0123456789abcdef0123456789abcdef", clientsNamespace, serverNamespace)
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "bridge")}, v1alpha1.ConditionReady, time.Minute)

	began := time.Now()
	applyText(t, staffProvider)
	provider := &v1alpha1.IdentityProvider{ObjectMeta: named(serverNamespace, "staff")}
	waitForCondition(t, provider, v1alpha1.ConditionReady, 4*time.Minute)
	t.Logf("the first credential was at all replicas after %s", time.Since(began).Round(time.Second))
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "shop")}, v1alpha1.ConditionReady, time.Minute)
	signInAtStaff(t)

	// As after a leak: the provider accepts another secret, and the old one no more.
	began = time.Now()
	agreeUpon(t, "fedcba9876543210fedcba9876543210", clientsNamespace)
	revokeOldSecretOfBridge(t)
	if a := loginAtStaff(t); strings.HasPrefix(a.At, "https://app.example.com/") {
		t.Fatal("with a secret that was revoked a user signs in")
	}
	agreeUpon(t, "fedcba9876543210fedcba9876543210", serverNamespace)
	eventually(t, "a user signs in with the new credential", 4*time.Minute, func() error {
		if a := loginAtStaff(t); !strings.HasPrefix(a.At, "https://app.example.com/") {
			return fmt.Errorf("the browser is at %s, with status %d", a.At, a.Status)
		}
		return nil
	})
	waitForCondition(t, provider, v1alpha1.ConditionReady, 4*time.Minute)
	t.Logf("the next credential was at all replicas after %s", time.Since(began).Round(time.Second))
	signInAtStaff(t)
	if after := portalPods(t); after != before {
		t.Errorf("the Pods were\n%s\nand are\n%s", before, after)
	}
}

// readyPortal has both servers and the client of the second ready, without an IdentityProvider.
func readyPortal(t *testing.T) {
	t.Helper()
	readyServer(t)
	publishAuthority(t, serverNamespace)
	apply(t, "staff.yaml")
	atEnd(t, "delete", "--wait=false", "--ignore-not-found", "-f", "testdata/staff.yaml")
	waitForCondition(t, &v1alpha1.AuthorizationServer{ObjectMeta: named(serverNamespace, "staff")}, v1alpha1.ConditionReady, 3*time.Minute)
	waitForCondition(t, &v1alpha1.OAuthUser{ObjectMeta: named(serverNamespace, "dora")}, v1alpha1.ConditionReady, time.Minute)
	var service corev1.Service
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: serverNamespace, Name: "staff-tokenserver"}, &service); err != nil {
		t.Fatal(err)
	}
	applyText(t, fmt.Sprintf(portal, service.Spec.ClusterIP))
	atEnd(t, "delete", "-n", serverNamespace, "--wait=false", "--ignore-not-found", "identityprovider/staff", "authorizationserver/portal", "certificate/portal", "secret/bridge")
	atEnd(t, "delete", "-n", clientsNamespace, "--wait=false", "--ignore-not-found", "oauthclient/shop", "secret/bridge")
	waitForCondition(t, &v1alpha1.AuthorizationServer{ObjectMeta: named(serverNamespace, "portal")}, v1alpha1.ConditionDeployed, 3*time.Minute)
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "shop")}, v1alpha1.ConditionProgrammed, time.Minute)
}

// portalPods lists the Pods of the second server, and how often they were restarted.
func portalPods(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, p := range runningPods(t, serverNamespace, portalLabels) {
		fmt.Fprintf(&all, "%s %s", p.Name, p.UID)
		for _, c := range p.Status.ContainerStatuses {
			fmt.Fprintf(&all, " %s restarted %d times", c.Name, c.RestartCount)
		}
		all.WriteString("\n")
	}
	return all.String()
}

// agreeUpon writes the secret of the client bridge where its owners look for it: those of the provider in the app team's namespace, those
// of the other server in its own.
func agreeUpon(t *testing.T, secret string, namespaces ...string) {
	t.Helper()
	for _, namespace := range namespaces {
		applyText(t, fmt.Sprintf(bridgeSecret, namespace, secret))
	}
}

// revokeOldSecretOfBridge waits for the new one at the provider, and revokes the one that it replaces.
func revokeOldSecretOfBridge(t *testing.T) {
	t.Helper()
	bridge := &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "bridge")}
	var old v1alpha1.CredentialID
	eventually(t, "the provider accepts another secret", time.Minute, func() error {
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(bridge), bridge); err != nil {
			return err
		}
		for _, c := range bridge.Status.Credentials {
			if c.State == v1alpha1.CredentialRetiring {
				old = c.ID
				return nil
			}
		}
		return fmt.Errorf("the credentials are %+v", bridge.Status.Credentials)
	})
	kubectl(t, "patch", "-n", clientsNamespace, "oauthclient", "bridge", "--type=merge", "-p", fmt.Sprintf(`{"spec": {"secret": {"revokedCredentials": [%q]}}}`, old))
	waitForCondition(t, bridge, v1alpha1.ConditionReady, time.Minute)
	if n := len(bridge.Status.Credentials); n != 1 {
		t.Fatalf("%d secrets are good: %+v", n, bridge.Status.Credentials)
	}
}

// loginAtStaff signs dora in to the client shop, with a browser that goes to the provider and back.
func loginAtStaff(t *testing.T) answer {
	t.Helper()
	return runClient(t, clientsNamespace, "shop-oauth", "login", "--ca=/ca/ca.crt", "--username=dora", "--password=wonderland-e2e",
		"--provider=https://staff-tokenserver.identity.svc/",
		"--authorize=https://portal-tokenserver.identity.svc/authorize?response_type=code&client_id=apps.shop&scope=openid&redirect_uri=https://app.example.com/callback"+
			"&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
}

// signInAtStaff is loginAtStaff, and redeems the code.
func signInAtStaff(t *testing.T) {
	t.Helper()
	at, err := url.Parse(loginAtStaff(t).At)
	if err != nil || at.Host != "app.example.com" || at.Query().Get("code") == "" {
		t.Fatalf("the browser is at %s: %v", at, err)
	}
	a := askForToken(t, clientsNamespace, "shop-oauth", "--ca=/ca/ca.crt", "--form=grant_type=authorization_code", "--form=redirect_uri=https://app.example.com/callback",
		"--form=code="+at.Query().Get("code"), "--form=code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
	if a.Status != 200 {
		t.Fatalf("the code is answered with %d %s", a.Status, a.Error)
	}
	if sub, _ := claimsOf(t, a.AccessToken)["sub"].(string); !strings.HasPrefix(sub, "~") {
		t.Errorf("the token is about %q", sub)
	}
}
