package compile

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// SecretKey is a key of a Secret that an object names.
type SecretKey struct {
	Namespace string
	Ref       v1alpha1.SecretKeyReference
	Field     string // with the reference, for messages
	// Forbidden returns why the Secret must not be read, as a predicate of it, or "" if it may. Nil
	// forbids none.
	Forbidden func(*corev1.Secret) string
	// Refusal is the reason of the problem that the Secret must not be read; empty: Invalid.
	Refusal string
}

// FromSecretKey returns the key with the client secret of an OAuthClient; nil if the operator
// generates it, or there is none.
func FromSecretKey(c *v1alpha1.OAuthClient) *SecretKey {
	if !c.Spec.TokenEndpointAuthMethod.UsesSecret() || c.Spec.Secret == nil || c.Spec.Secret.Source != v1alpha1.SecretFromSecret {
		return nil
	}
	return &SecretKey{Namespace: c.Namespace, Ref: *c.Spec.Secret.FromSecret, Field: "spec.secret.fromSecret", Forbidden: findTypeProblem}
}

// JWKSSecretKey returns the key with the public keys of an OAuthClient that signs its assertions; nil
// if they are elsewhere.
func JWKSSecretKey(c *v1alpha1.OAuthClient) *SecretKey {
	if c.Spec.TokenEndpointAuthMethod != v1alpha1.AuthMethodPrivateKey || c.Spec.JWKSSecretRef == nil {
		return nil
	}
	return &SecretKey{Namespace: c.Namespace, Ref: *c.Spec.JWKSSecretRef, Field: "spec.jwksSecretRef"}
}

// UpstreamSecretKey returns the key with the credential for an identity provider.
func UpstreamSecretKey(p *v1alpha1.IdentityProvider) SecretKey {
	k := SecretKey{Namespace: p.Namespace, Forbidden: findTypeProblem, Refusal: v1alpha1.ReasonSecretRefused}
	switch {
	case p.Spec.OIDC != nil:
		k.Ref, k.Field = p.Spec.OIDC.ClientSecretRef, "spec.oidc.clientSecretRef"
	case p.Spec.LDAP != nil:
		k.Ref, k.Field = p.Spec.LDAP.Bind.PasswordSecretRef, "spec.ldap.bind.passwordSecretRef"
	}
	return k
}

// Missing is the problem if there is no such Secret.
func (k SecretKey) Missing() Problem {
	return newProblem(v1alpha1.ReasonSecretNotFound, "%s: there is no Secret %q in namespace %q", k.Field, k.Ref.Name, k.Namespace)
}

// CheckOwner returns why the Secret must not be read, whatever it holds.
func (k SecretKey) CheckOwner(m metav1.Object) Problem {
	if own := DescribeOperatorSecret(m); own != "" {
		return newProblem(cmp.Or(k.Refusal, v1alpha1.ReasonInvalid), "%s: Secret %q %s: name a Secret that was made for this", k.Field, k.Ref.Name, own)
	}
	return Problem{}
}

// Value returns the value of the key in the Secret, or why there is none.
func (k SecretKey) Value(secret *corev1.Secret) ([]byte, Problem) {
	if problem := k.CheckOwner(secret); problem.IsSet() {
		return nil, problem
	}
	if k.Forbidden != nil {
		if forbidden := k.Forbidden(secret); forbidden != "" {
			return nil, newProblem(cmp.Or(k.Refusal, v1alpha1.ReasonInvalid), "%s: Secret %q %s", k.Field, k.Ref.Name, forbidden)
		}
	}
	value, found := secret.Data[k.Ref.Key]
	if !found {
		return nil, newProblem(v1alpha1.ReasonSecretNotFound, "%s: Secret %q in namespace %q has no key %q", k.Field, k.Ref.Name, k.Namespace, k.Ref.Key)
	}
	return value, Problem{}
}

// findTypeProblem returns why a Secret must not be read by its type, as a predicate of
// the Secret with advice, or "" if it may. A target may copy what is read to where others can read
// it, and the author of an OAuthClient need not be permitted to read every Secret.
func findTypeProblem(secret *corev1.Secret) string {
	if strings.HasPrefix(string(secret.Type), "kubernetes.io/") && secret.Type != corev1.SecretTypeBasicAuth ||
		secret.Type == corev1.SecretTypeBootstrapToken {
		return fmt.Sprintf("is of the type %s: name one that was made for this", secret.Type)
	}
	return ""
}

// Bounds of the length of a client secret that the operator did not generate. A shorter one is
// refused: it is stored under a fast hash, which is right for random values only.
const (
	minSecretLength = 32
	maxSecretLength = 1024
)

// FindSecretProblem returns what is wrong with a client secret that the operator did not generate,
// as a predicate of the value, and the reason for the condition; both empty if nothing is. RFC 6749
// appendix A.2: client_secret = *VSCHAR.
func FindSecretProblem(value string) (reason, problem string) {
	if len(value) < minSecretLength {
		return v1alpha1.ReasonWeakSecret,
			fmt.Sprintf("is shorter than %d characters: use a random value, such as of openssl rand -hex 32", minSecretLength)
	}
	if len(value) > maxSecretLength {
		return v1alpha1.ReasonInvalid, fmt.Sprintf("is longer than %d characters: use a shorter one", maxSecretLength)
	}
	for i := range len(value) {
		if value[i] < 0x20 || value[i] > 0x7e {
			return v1alpha1.ReasonInvalid,
				"has characters other than printable ASCII: remove them; it may be a line break at its end (use echo -n)"
		}
	}
	return "", ""
}

// CheckClientSecret returns what is wrong with the value of a key as a client secret.
func (k SecretKey) CheckClientSecret(value string) Problem {
	if reason, problem := FindSecretProblem(value); problem != "" {
		return newProblem(reason, "%s: the value of key %q in Secret %q %s", k.Field, k.Ref.Key, k.Ref.Name, problem)
	}
	return Problem{}
}

// PublicKeys returns the public part of the keys in the value of a key, or what is wrong with it.
func (k SecretKey) PublicKeys(value []byte) ([]documents.JWK, Problem) {
	keys, err := publicKeys(value)
	if err != nil {
		return nil, newProblem(v1alpha1.ReasonInvalid, "%s: the value of key %q in Secret %q: %s", k.Field, k.Ref.Key, k.Ref.Name, err)
	}
	return keys, Problem{}
}
