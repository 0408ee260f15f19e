package controllers

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// resolveKeys puts the public keys of a client that signs its assertions into its document, and
// says in CredentialsReady what is wrong with them. An error is kept until the document is written.
func (r *clientReconciler) resolveKeys(ctx context.Context, s *clientPass) error {
	if !s.isServed() || s.client.Spec.TokenEndpointAuthMethod != v1alpha1.AuthMethodPrivateKey {
		return nil
	}
	if s.client.Spec.JWKSSecretRef != nil {
		s.keysErr = r.readKeySource(ctx, s)
		return nil
	}
	if s.client.Spec.JWKSURI != "" {
		s.keys = trueCondition(v1alpha1.ReasonKeysReady, "token servers fetch the keys from spec.jwksURI")
		return nil
	}
	s.keys = trueCondition(v1alpha1.ReasonKeysReady, "the keys in spec.jwks are in force")
	if _, findings := compile.ClientKeys(s.client); len(findings) > 0 {
		s.keys = invalidCondition("%s", findings)
	}
	return nil
}

// readKeySource reads the keys in the Secret that spec.jwksSecretRef names. While it cannot be used,
// the keys that were read before stay in force.
func (r *clientReconciler) readKeySource(ctx context.Context, s *clientPass) error {
	if s.entry != nil {
		if stored, err := decodeEntry[documents.Client](s.entry); err == nil && stored.JWKSSource != "" {
			s.document.JWKS, s.document.JWKSSource = stored.JWKS, stored.JWKSSource
		}
	}
	key, known := compile.JWKSSecretKey(s.client), parseSecretVersion(s.document.JWKSSource)
	source, value, problem, err := r.readSecretKey(ctx, *key, key.Ref.Key, known)
	switch {
	case err != nil:
		return err
	case problem.isSet():
		s.keys = problem
		return nil
	case source != known:
		keys, problem := key.PublicKeys(value)
		if problem.IsSet() {
			s.keys = problemCondition(problem)
			return nil
		}
		s.document.JWKS, s.document.JWKSSource = keys, source.String()
	}
	s.keys = trueCondition(v1alpha1.ReasonKeysReady, fmt.Sprintf("the public part of the keys in Secret %q is in force", key.Ref.Name))
	return nil
}

// keySetCondition says that token servers cannot fetch the keys at spec.jwksURI; not set if none of
// them says so.
func keySetCondition(s *clientPass) condition {
	if s.client.Spec.JWKSURI == "" {
		return condition{}
	}
	for _, replica := range s.replicas {
		for _, problem := range replica.Spec.KeySetProblems {
			if problem.ClientUID == s.client.UID {
				return falseCondition(problem.Reason, "spec.jwksURI: %s; what was fetched in the last 24 hours counts until then", keySetAdvice[problem.Reason])
			}
		}
	}
	return condition{}
}

// keySetAdvice says what a reason of a KeySetProblem means.
var keySetAdvice = map[string]string{
	v1alpha1.ReasonUnreachable:    "token servers cannot reach it: check the address; if it is a private one, have the server's owner list its host in spec.fetch.jwksHosts",
	v1alpha1.ReasonBadCertificate: "its certificate is not for this host, has expired, or is of an authority that token servers do not trust",
	v1alpha1.ReasonBadAnswer:      "what is there is no JWK Set: it must be answered with status 200, without a redirect, and with at most 256 KiB of JSON",
}

// mapReplicaToKeySets maps a Replica to the clients whose key sets it could not fetch.
func (op *operator) mapReplicaToKeySets(ctx context.Context, changed client.Object) []client.ObjectKey {
	replica, ok := changed.(*internalv1alpha1.Replica)
	if !ok {
		return nil
	}
	var keys []client.ObjectKey
	for _, problem := range replica.Spec.KeySetProblems {
		keys = append(keys, op.listKeys(ctx, &v1alpha1.OAuthClientList{}, client.MatchingFields{indexUID: string(problem.ClientUID)})...)
	}
	return keys
}

// differInKeySets reports whether a Replica could fetch other key sets than before.
func differInKeySets(before, after *internalv1alpha1.Replica) bool {
	return !slices.Equal(before.Spec.KeySetProblems, after.Spec.KeySetProblems)
}
