package compile

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/expansion"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Limits of spec.secret.target.data and spec.configMap.data: how many keys each may have, and how
// many bytes what they make of them.
const (
	maxDataKeys  = 32
	maxDataBytes = 64 << 10
)

// AnySecret stands for a client secret that is not known yet: no secret takes more bytes than this
// one in any encoding. (1,024 characters are the most that a secret may have, and none is a line
// feed.)
var AnySecret = strings.Repeat("\n", 1024)

// dataKey is what Kubernetes allows as a key of a Secret or a ConfigMap.
var dataKey = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)

// SecretData returns the data of a client's Secret, with a client secret. What has no findings with
// AnySecret has none with any client secret.
func SecretData(c *v1alpha1.OAuthClient, doc documents.Client, issuer, secret string) (map[string]string, Findings) {
	data := SecretContent(doc, issuer)
	data[SecretKeyClientSecret] = secret
	target := SecretTarget(c)
	if target == nil {
		return data, nil
	}
	variables := dataVariables(c, doc, issuer)
	variables["client_secret"] = expansion.Variable{Value: secret, StandsIn: secret == AnySecret}
	findings := expand(data, target.Data, "spec.secret.target.data", variables)
	return data, findings
}

// ConfigMapData returns the data of a client's ConfigMap: nothing in it depends on a client secret.
func ConfigMapData(c *v1alpha1.OAuthClient, doc documents.Client, issuer string) (map[string]string, Findings) {
	data := SecretContent(doc, issuer)
	if c.Spec.ConfigMap == nil {
		return data, nil
	}
	findings := expand(data, c.Spec.ConfigMap.Data, "spec.configMap.data", dataVariables(c, doc, issuer))
	return data, findings
}

// expand adds to data what a field of an object says, in place of default keys of the same name.
func expand(data, texts map[string]string, field string, variables map[string]expansion.Variable) Findings {
	if len(texts) > maxDataKeys {
		return Findings{{field, fmt.Sprintf("has %d keys, and may have %d", len(texts), maxDataKeys)}}
	}
	var findings Findings
	e := &expansion.Expander{Variables: variables, Limit: maxDataBytes}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if problem := findKeyProblem(key); problem != "" {
			findings = append(findings, Finding{field, problem})
			continue
		}
		text, err := e.Expand(texts[key])
		if err != nil {
			findings = append(findings, Finding{field + "[" + key + "]", err.Error()})
			continue
		}
		data[key] = text
	}
	return findings
}

func findKeyProblem(key string) string {
	switch {
	case key == SecretKeyClientSecret:
		return "the key client_secret is the client secret's own: choose another key"
	case !dataKey.MatchString(key) || key == "." || strings.HasPrefix(key, ".."):
		return fmt.Sprintf("%.64q is no key of a Secret or ConfigMap: use 1 to 253 of the characters A-Z a-z 0-9 - _ . and do not begin with ..", key)
	}
	return ""
}

// dataVariables returns the variables that texts may refer to, in which client_secret has no value.
// The endpoints have their names in the metadata of the server (RFC 8414 section 2).
func dataVariables(c *v1alpha1.OAuthClient, doc documents.Client, issuer string) map[string]expansion.Variable {
	values := map[string]string{
		"client_id": doc.ID, "issuer": issuer, "namespace": c.Namespace, "name": c.Name,
		"authorization_endpoint": issuer + oauth.PathAuthorize,
		"token_endpoint":         issuer + oauth.PathToken,
		"introspection_endpoint": issuer + oauth.PathIntrospect,
		"revocation_endpoint":    issuer + oauth.PathRevoke,
		"userinfo_endpoint":      issuer + oauth.PathUserInfo,
		"jwks_uri":               issuer + oauth.PathJWKS,
		"end_session_endpoint":   issuer + oauth.PathLogout,
	}
	variables := map[string]expansion.Variable{
		"client_secret": {Missing: "must not be in a ConfigMap: use spec.secret.target.data, or remove it"},
		"redirect_uri":  {Missing: "has no value, because the client has no spec.redirectURIs: remove it"},
		"scope":         {Missing: "has no value, because the client has no spec.scopes: remove it"},
	}
	for name, value := range values {
		variables[name] = expansion.Variable{Value: value}
	}
	if len(doc.RedirectURIs) > 0 {
		variables["redirect_uri"] = expansion.Variable{Value: doc.RedirectURIs[0]}
	}
	if len(doc.Scopes) > 0 {
		variables["scope"] = expansion.Variable{Value: strings.Join(doc.Scopes, " ")}
	}
	return variables
}
