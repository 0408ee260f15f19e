//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// The section of docs/operate.md has three scripts: to back up, to restore, and to say whose the Secrets are.
const sectionOnBackups = "\n## Backup and restore\n"

func TestARestoredBackupKeepsSecretsAndKeysAndEndsGrants(t *testing.T) {
	reportFailure(t)
	apply(t, "kept.yaml")
	atEnd(t, "delete", "--wait=false", "--ignore-not-found", "-f", "testdata/kept.yaml")
	keptIsReady(t)
	machine := tokenOfKept(t, "machine-oauth")
	legacy := tokenOfKept(t, "legacy-oauth", "grant_type=password", "username=carol", "password=wonderland-e2e")
	if machine.Status != 200 || legacy.Status != 200 || legacy.RefreshToken == "" {
		t.Fatalf("before the backup the answers are %+v and %+v", machine, legacy)
	}
	secret, keys, uid := secretOf(t, "kept-apps", "machine-oauth"), secretOf(t, "kept", "kept-tokenserver-keys"), clientUID(t)

	scripts := scriptsOfSection(t, sectionOnBackups)
	dir := t.TempDir()
	runScript(t, dir, scripts[0])
	kubectl(t, "delete", "namespace", "kept", "kept-apps", "--timeout=180s")
	applyText(t, "{apiVersion: v1, kind: Namespace, metadata: {name: kept}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: kept-apps, labels: {team: kept}}}\n")
	runScript(t, dir, scripts[1])
	runScript(t, dir, scripts[2])

	keptIsReady(t)
	if clientUID(t) == uid {
		t.Error("the client has its old UID: nothing was restored")
	}
	if now := secretOf(t, "kept-apps", "machine-oauth"); string(now["client_secret"]) != string(secret["client_secret"]) || string(now["client_id"]) != "shop" {
		t.Error("the client has another secret or client id than before")
	}
	now := secretOf(t, "kept", "kept-tokenserver-keys")
	for name, key := range keys {
		if string(now[name]) != string(key) {
			t.Errorf("the key %s is another one, or lost", name)
		}
	}
	after := tokenOfKept(t, "machine-oauth")
	if after.Status != 200 || keyOf(t, after.AccessToken) != keyOf(t, machine.AccessToken) {
		t.Errorf("after the restore the answer is %+v, and before key %s signed", after, keyOf(t, machine.AccessToken))
	}
	if a := tokenOfKept(t, "legacy-oauth", "grant_type=refresh_token", "refresh_token="+legacy.RefreshToken); a.Status != 400 || a.Error != "invalid_grant" {
		t.Errorf("a refresh token of before the restore is answered with %+v", a)
	}
	if a := tokenOfKept(t, "legacy-oauth", "grant_type=password", "username=carol", "password=wonderland-e2e"); a.Status != 200 {
		t.Errorf("after the restore the user's password is answered with %+v", a)
	}
	if identity := keptIdentity(t); !identity.Spec.Suspended {
		t.Error("the user from elsewhere is not suspended any more")
	}
}

// keptIdentity returns the user from elsewhere once it is served what is said of the user.
func keptIdentity(t testing.TB) *v1alpha1.OAuthIdentity {
	t.Helper()
	identity := &v1alpha1.OAuthIdentity{ObjectMeta: named("kept", "identity-1c7e78a9f46c6b79819b5f5910c05ef001ea1507")}
	waitForCondition(t, identity, v1alpha1.ConditionProgrammed, time.Minute)
	return identity
}

func keptIsReady(t testing.TB) {
	t.Helper()
	waitForCondition(t, &v1alpha1.AuthorizationServer{ObjectMeta: named("kept", "kept")}, v1alpha1.ConditionReady, 3*time.Minute)
	waitForCondition(t, &v1alpha1.OAuthUser{ObjectMeta: named("kept", "carol")}, v1alpha1.ConditionReady, time.Minute)
	waitForCondition(t, &v1alpha1.IdentityProvider{ObjectMeta: named("kept", "elsewhere")}, v1alpha1.ConditionReady, 4*time.Minute)
	keptIdentity(t)
	for _, name := range []string{"machine", "legacy"} {
		waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named("kept-apps", name)}, v1alpha1.ConditionReady, time.Minute)
	}
}

func tokenOfKept(t testing.TB, secret string, form ...string) answer {
	t.Helper()
	args := []string{"--endpoint=http://kept-tokenserver.kept.svc/token", "--connect-within=10s"}
	for _, parameter := range form {
		args = append(args, "--form="+parameter)
	}
	return askForToken(t, "kept-apps", secret, args...)
}

func secretOf(t testing.TB, namespace, name string) map[string][]byte {
	t.Helper()
	var s corev1.Secret
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return s.Data
}

func clientUID(t testing.TB) string {
	t.Helper()
	var c v1alpha1.OAuthClient
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: "kept-apps", Name: "machine"}, &c); err != nil {
		t.Fatal(err)
	}
	return string(c.UID)
}

// scriptsOfSection returns the shell scripts of a section of docs/operate.md.
func scriptsOfSection(t testing.TB, heading string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(content), heading)
	section, _, _ = strings.Cut(section, "\n## ")
	var scripts []string
	for _, part := range strings.Split(section, "```sh\n")[1:] {
		script, _, _ := strings.Cut(part, "```")
		scripts = append(scripts, script)
	}
	if len(scripts) != 3 {
		t.Fatalf("the section%shas %d scripts", heading, len(scripts))
	}
	return scripts
}

// runScript runs a script of the page, for the namespaces of this test.
func runScript(t testing.TB, dir, script string) {
	t.Helper()
	programs, err := filepath.Abs(filepath.Join("..", "..", "bin", "local"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	command.Dir = dir
	command.Env = append(os.Environ(), "NAMESPACES=kept kept-apps", "PATH="+programs+":"+os.Getenv("PATH"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, script, out)
	}
}
