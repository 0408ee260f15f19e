package features

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// codeBlock returns the first block of code in a language in a section of a page of the docs.
func codeBlock(t *testing.T, page, heading, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n"+heading+"\n")
	_, block, hasBlock := strings.Cut(section, "\n```"+language+"\n")
	code, _, ends := strings.Cut(block, "\n```\n")
	if !found || !hasBlock || !ends {
		t.Fatalf("%s has no code in %s below %q", page, language, heading)
	}
	return code + "\n"
}

// runIn runs a program in a directory, and returns its output.
func runIn(t *testing.T, dir string, environment []string, program ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), program[0], program[1:]...)
	command.Dir, command.Env = dir, append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program[0], err, output)
	}
	return string(output)
}

// The commands and clients of docs/oauthclient.md work as they stand.
func TestTheClientsInTheDocumentationSignInWithAKey(t *testing.T) {
	const page, heading = "oauthclient.md", "### A key instead of a secret"
	env, dir := testenv.New(t), t.TempDir()
	runIn(t, dir, nil, "openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", "key.pem")
	public := runIn(t, dir, nil, "openssl", "pkey", "-in", "key.pem", "-pubout")
	env.Create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: "billing-key"}, StringData: map[string]string{"public.pem": public},
	})
	var documented v1alpha1.OAuthClient
	if err := yaml.UnmarshalStrict([]byte(codeBlock(t, page, heading, "yaml")), &documented); err != nil {
		t.Fatal(err)
	}
	c := env.ReadyClient(documented.Name, documented.Spec)
	environment := []string{"ISSUER=" + env.Issuer, "CLIENT_ID=" + c.Status.ClientID}
	check := func(language, output string) {
		t.Helper()
		token := strings.TrimSpace(output)
		if _, rest, isJSON := strings.Cut(token, `"access_token":"`); isJSON {
			token, _, _ = strings.Cut(rest, `"`)
		}
		if _, err := accessTokenVerifier(env, env.Issuer).Verify(env.Context(), token); err != nil {
			t.Errorf("%s printed %q: %v", language, output, err)
		}
	}
	check("the shell", runIn(t, dir, environment, "bash", "-euo", "pipefail", "-c", codeBlock(t, page, heading, "sh")))

	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(codeBlock(t, page, heading, "go")), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "client")
	runIn(t, filepath.Join("..", ".."), nil, "go", "build", "-o", program, source)
	check("Go", runIn(t, dir, environment, program))

	if err := exec.CommandContext(t.Context(), "python3", "-c", "import cryptography").Run(); err != nil {
		t.Log("there is no Python with the package cryptography: the client in Python is left out")
		return
	}
	check("Python", runIn(t, dir, environment, "python3", "-c", codeBlock(t, page, heading, "python")))
	if status, answer := signIn(env, "x.y.z"); status != http.StatusUnauthorized {
		t.Errorf("what is no assertion is answered %d %v", status, answer)
	}
}
