package controllers

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/controllers/upstreams"
)

// resolveReferences copies the credential that the spec names, and reads the certificates. An error
// is kept until the document is written.
//
// Of a provider that is not accepted nothing is copied, but the credentials of those that are gone are
// removed: it may be the only one that is left.
func (r *identityProviderReconciler) resolveReferences(ctx context.Context, s *identityProviderPass) error {
	if !s.accepted.isTrue() {
		if s.server != nil {
			_, _, s.resolveErr = r.writeUpstream(ctx, s.server.object, s.provider.UID, nil, false)
		}
		return nil
	}
	s.document.Credentials = s.stored.Credentials
	s.resolveErr = cmp.Or(r.copyCredential(ctx, s), r.readCABundle(ctx, s))
	if s.resolveErr == nil && !s.resolved.isSet() {
		s.resolved = trueCondition(v1alpha1.ReasonResolvedRefs, "everything that the provider names exists")
	}
	return nil
}

// copyCredential copies the credential into the Secret that the token servers mount. One that cannot
// be read any more stays as it was copied, unless the Secret must not be read.
func (r *identityProviderReconciler) copyCredential(ctx context.Context, s *identityProviderPass) error {
	value, err := r.readCredential(ctx, s, compile.UpstreamSecretKey(s.provider))
	if err != nil {
		return err
	}
	written, problem, err := r.writeUpstream(ctx, s.server.object, s.provider.UID, value, s.resolved.reason == v1alpha1.ReasonSecretRefused)
	switch {
	case err != nil:
		return err
	case problem.isSet():
		if !s.resolved.isSet() {
			s.resolved = problem
		}
		s.document.Credentials = nil
		s.requeueAt = earliest(s.requeueAt, r.now().Add(retryName))
		return nil
	}
	s.document.Credentials = written.Names(s.provider.UID)
	s.requeueAt = earliest(s.requeueAt, written.Next(s.provider.UID))
	return nil
}

// readCredential reads the credential. It returns nil, and sets s.resolved, if there is none that can
// be used.
func (r *identityProviderReconciler) readCredential(ctx context.Context, s *identityProviderPass, key compile.SecretKey) ([]byte, error) {
	problem, err := r.findServerSecretProblem(ctx, key)
	if err != nil {
		return nil, err
	}
	if problem.isSet() {
		s.resolved = problem
		return nil, nil
	}
	_, value, problem, err := r.readSecretKey(ctx, key, key.Ref.Key, secretVersion{})
	if err != nil {
		return nil, err
	}
	if problem.isSet() {
		s.resolved = problem
		return nil, nil
	}
	if wrong := findCredentialProblem(value); wrong != "" {
		s.resolved = falseCondition(v1alpha1.ReasonInvalid, "%s: the value of key %q in Secret %q %s", key.Field, key.Ref.Key, key.Ref.Name, wrong)
		return nil, nil
	}
	return value, nil
}

// findServerSecretProblem returns why a Secret must not be copied, which is that a server has its
// certificate or its DSN there: the author of an IdentityProvider or an OAuthClient, who need not be
// permitted to read Secrets, could send either to a provider of their own, or have it in a Secret
// that they read.
func (op *operator) findServerSecretProblem(ctx context.Context, k compile.SecretKey) (condition, error) {
	named, err := op.describeServerSecret(ctx, client.ObjectKey{Namespace: k.Namespace, Name: k.Ref.Name})
	if err != nil || named == "" {
		return condition{}, err
	}
	return falseCondition(cmp.Or(k.Refusal, v1alpha1.ReasonInvalid), "%s: Secret %q %s: name a Secret that was made for this", k.Field, k.Ref.Name, named), nil
}

// describeServerSecret says for which server a Secret is the certificate or has the DSN, as a
// predicate of it, or returns "".
func (op *operator) describeServerSecret(ctx context.Context, key client.ObjectKey) (string, error) {
	var servers v1alpha1.AuthorizationServerList
	if err := op.List(ctx, &servers, client.MatchingFields{indexSecret: key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return "", err
	}
	for i := range servers.Items {
		switch spec := &servers.Items[i].Spec; {
		case spec.TLS != nil && spec.TLS.SecretName == key.Name:
			return fmt.Sprintf("is the certificate of the AuthorizationServer %q", servers.Items[i].Name), nil
		case compile.DSN(&servers.Items[i]) != nil && compile.DSN(&servers.Items[i]).Name == key.Name:
			return fmt.Sprintf("has the DSN of the AuthorizationServer %q", servers.Items[i].Name), nil
		}
	}
	return "", nil
}

// findCredentialProblem returns what is wrong with a client secret or password, as a predicate of
// it, or "".
func findCredentialProblem(value []byte) string {
	text := string(value)
	switch {
	case text == "":
		return "is empty"
	case len(text) > upstreams.MaxSize:
		return fmt.Sprintf("is longer than %d bytes", upstreams.MaxSize)
	case strings.HasSuffix(text, "\n"):
		return "ends with a line break: remove it (echo -n)"
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return "is not UTF-8, or has control characters: it must be as the provider shows it"
	}
	return ""
}

// readCABundle puts the certificates that spec.caBundle names into the document. While they cannot be
// read, those that were read from the same key before stay in force.
func (r *identityProviderReconciler) readCABundle(ctx context.Context, s *identityProviderPass) error {
	if s.provider.Spec.CABundle == nil {
		return nil
	}
	const field = "spec.caBundle.configMapRef"
	ref, known := s.provider.Spec.CABundle.ConfigMapRef, secretVersion{}
	if version, isSame := strings.CutPrefix(s.stored.CABundleSource, ref.Name+" "); isSame && parseSecretVersion(version).detail == ref.Key {
		known = parseSecretVersion(version)
		s.document.CABundle, s.document.CABundleSource = s.stored.CABundle, s.stored.CABundleSource
	}
	source, value, problem, err := r.readConfigMapKey(ctx, s.provider.Namespace, ref, field, known)
	switch {
	case err != nil:
		return err
	case !problem.isSet() && source != known:
		if wrong := checkCABundle(value); wrong != nil {
			problem = falseCondition(v1alpha1.ReasonInvalid, "%s: the value of key %q in ConfigMap %q %s", field, ref.Key, ref.Name, wrong)
			break
		}
		s.document.CABundle, s.document.CABundleSource = value, ref.Name+" "+source.String()
	}
	if problem.isSet() && !s.resolved.isSet() {
		s.resolved = problem
	}
	return nil
}

// lacksCABundle reports whether the certificates are not known that the spec names: without them, the
// public roots would count.
func (s *identityProviderPass) lacksCABundle() bool {
	return s.provider.Spec.CABundle != nil && s.document.CABundle == ""
}

// isUsable reports whether users can sign in with what the spec names: token servers have, or get, a
// credential, and the certificates are known.
func (s *identityProviderPass) isUsable() bool {
	return len(s.document.Credentials) > 0 && !s.lacksCABundle()
}

func secretsOfProvider(p *v1alpha1.IdentityProvider) []string {
	return []string{p.Namespace + "/" + compile.UpstreamSecretKey(p).Ref.Name, upstreamSecretKey(names.ServerOf(p)).String()}
}

func configMapsOfProvider(p *v1alpha1.IdentityProvider) []string {
	if p.Spec.CABundle == nil {
		return nil
	}
	return []string{p.Namespace + "/" + p.Spec.CABundle.ConfigMapRef.Name}
}
