package compile

import (
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// The manager asks whether a text fits before it knows the secret. Afterwards it is too late: the
// value of fromSecret is in force already.
func TestATextThatFitsBeforeItsSecretIsKnownFitsWithEverySecret(t *testing.T) {
	doc := documents.Client{ID: "shop.web"}
	var secrets []string
	for _, part := range []string{`"`, `\`, "a", "~", "?", ">", "aa?", "a~~", "ab>", "%", " "} {
		secrets = append(secrets, strings.Repeat(part, 1024/len(part)), strings.Repeat(part, 1024)[:1024])
	}
	fitting := 0
	for _, encodings := range []string{
		"", "|b64enc", "|urlquery", "|json", "|b64enc|urlquery", "|json|b64enc|urlquery", "|b64enc|b64enc|urlquery", "|b64enc|urlquery|b64enc|urlquery", "|json|json|urlquery",
	} {
		for n := 1; n < 64; n++ {
			text := strings.Repeat("$(client_secret"+encodings+")", n)
			c := &v1alpha1.OAuthClient{Spec: v1alpha1.OAuthClientSpec{
				TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
				Secret: &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: &v1alpha1.SecretTarget{
					Name: "web", Data: map[string]v1alpha1.DataText{"k": v1alpha1.DataText(text)},
				}},
			}}
			if _, findings := SecretData(c, doc, "https://auth.example.com", AnySecret); len(findings) > 0 {
				break
			}
			fitting++
			for _, secret := range secrets {
				if data, findings := SecretData(c, doc, "https://auth.example.com", secret); len(findings) > 0 || len(data["k"]) > maxDataBytes {
					t.Fatalf("%d times %s: does not fit with %.6q...: %s", n, encodings, secret, findings)
				}
			}
		}
	}
	if fitting < 50 {
		t.Errorf("only %d texts fit", fitting)
	}
}
