package controllers

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
)

// issuerKeys are the keys of a workload issuer, and the version of the ConfigMap that has them.
type issuerKeys struct {
	version secretVersion
	keys    []documents.JWK
}

// maxIssuerKeys is how large the JWK Set of a workload issuer may be in a ConfigMap, in bytes: the
// server's document has the keys of all its issuers.
const maxIssuerKeys = 64 << 10

// readIssuerKeys reads the keys of workload issuers that are in ConfigMaps. Those that cannot be read
// stay as they are in the document in force: like an address that does not answer, a ConfigMap that
// is not there says nothing about keys.
func (r *serverReconciler) readIssuerKeys(ctx context.Context, s *serverPass) error {
	server := client.ObjectKeyFromObject(s.server)
	known, _ := r.issuerKeys.Load(server)
	before, _ := known.(map[v1alpha1.ConfigMapKeyReference]issuerKeys)
	read := map[v1alpha1.ConfigMapKeyReference]issuerKeys{}
	s.issuerKeys = map[string][]documents.JWK{}
	for i, w := range s.server.Spec.WorkloadIssuers {
		if w.JWT == nil || w.JWT.JWKS == nil {
			continue
		}
		ref := w.JWT.JWKS.ConfigMapRef
		keys, problem, err := r.readKeysOf(ctx, server.Namespace, ref, fmt.Sprintf("spec.workloadIssuers[%d].jwt.jwks.configMapRef", i), before[ref])
		switch {
		case err != nil:
			return err
		case problem.isSet():
			s.issuerKeysProblem = problem
		default:
			read[ref], s.issuerKeys[w.Name] = keys, keys.keys
		}
	}
	r.issuerKeys.Store(server, read)
	return nil
}

// readKeysOf reads the keys in a ConfigMap, unless they are of the known version.
func (r *serverReconciler) readKeysOf(
	ctx context.Context, namespace string, ref v1alpha1.ConfigMapKeyReference, field string, known issuerKeys,
) (issuerKeys, condition, error) {
	version, value, problem, err := r.readConfigMapKey(ctx, namespace, ref, field, known.version)
	switch {
	case err != nil || problem.isSet():
		return issuerKeys{}, problem, err
	case version == known.version:
		return known, condition{}, nil
	case len(value) > maxIssuerKeys:
		return issuerKeys{}, falseCondition(v1alpha1.ReasonInvalid, "%s: the value of key %q in ConfigMap %q is larger than %d bytes", field, ref.Key, ref.Name, maxIssuerKeys), nil
	}
	keys, err := jwks.ParseKeys([]byte(value))
	if err != nil {
		return issuerKeys{}, falseCondition(v1alpha1.ReasonInvalid, "%s: the value of key %q in ConfigMap %q is %s", field, ref.Key, ref.Name, err), nil //nolint:nilerr // the condition says it
	}
	return issuerKeys{version, keys}, condition{}, nil
}

// addIssuerKeys adds to the server's document the keys of workload issuers that are in ConfigMaps.
func addIssuerKeys(s *serverPass, doc *documents.Server) {
	var before documents.Server
	if s.entry != nil {
		before, _ = decodeEntry[documents.Server](s.entry) // without it there are none
	}
	for i := range doc.WorkloadIssuers {
		issuer := &doc.WorkloadIssuers[i]
		if issuer.Type != documents.WorkloadIssuerJWT || issuer.Discovery {
			continue
		}
		keys, ok := s.issuerKeys[issuer.Name]
		if !ok {
			for _, old := range before.WorkloadIssuers {
				if old.Name == issuer.Name && old.Issuer == issuer.Issuer {
					keys = old.JWKS
				}
			}
		}
		issuer.JWKS = keys
	}
}

// resolveIssuerKeys says which ConfigMap could not be read.
func (r *serverReconciler) resolveIssuerKeys(_ context.Context, s *serverPass) error {
	if s.resolved.isTrue() && s.issuerKeysProblem.isSet() {
		s.resolved = s.issuerKeysProblem
		s.resolved.message += " (the keys that were known before stay in force)"
	}
	return nil
}
