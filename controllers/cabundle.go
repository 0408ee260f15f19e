package controllers

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// maxCABundle is the size of the largest bundle of certificates, in bytes: it shares the document
// with all else that the server's spec says.
const maxCABundle = 256 << 10

// addCABundle puts the certificates that spec.fetch.caBundle names into the document. While they
// cannot be read, those that were read before stay in force.
func (r *serverReconciler) addCABundle(ctx context.Context, s *serverPass, doc *documents.Server) error {
	if doc.Fetch == nil || s.server.Spec.Fetch.CABundle == nil {
		return nil
	}
	if s.entry != nil {
		if stored, err := decodeEntry[documents.Server](s.entry); err == nil && stored.Fetch != nil {
			doc.Fetch.CABundle, doc.Fetch.CABundleSource = stored.Fetch.CABundle, stored.Fetch.CABundleSource
		}
	}
	const field = "spec.fetch.caBundle.configMapRef"
	ref, known := s.server.Spec.Fetch.CABundle.ConfigMapRef, parseSecretVersion(doc.Fetch.CABundleSource)
	source, value, problem, err := r.readConfigMapKey(ctx, s.server.Namespace, ref, field, known)
	switch {
	case err != nil:
		s.caBundle = pendingCondition("%s: the ConfigMap could not be read", field)
		return err
	case problem.isSet():
		s.caBundle = problem
	case source != known:
		if err := checkCABundle(value); err != nil {
			s.caBundle = falseCondition(v1alpha1.ReasonInvalid, "%s: the value of key %q in ConfigMap %q %s", field, ref.Key, ref.Name, err.Error())
			return nil
		}
		doc.Fetch.CABundle, doc.Fetch.CABundleSource = value, source.String()
	}
	return nil
}

// resolveCABundle reports what addCABundle found, unless something else is missing.
func (r *serverReconciler) resolveCABundle(_ context.Context, s *serverPass) error {
	if s.caBundle.isSet() && s.resolved.isTrue() {
		s.resolved = s.caBundle
	}
	return nil
}

// checkCABundle returns what is wrong with a bundle of certificates, as a predicate of it.
func checkCABundle(value string) error {
	if len(value) > maxCABundle {
		return fmt.Errorf("is larger than %d bytes: list the authorities of your own network only", maxCABundle)
	}
	found := false
	for rest := []byte(value); ; found = true {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return errors.New("has a block of PEM that is no certificate: remove it")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return errors.New("has a certificate that cannot be read")
		}
	}
	if !found {
		return errors.New("has no certificate in PEM")
	}
	return nil
}

// configMapsOfServer returns the ConfigMaps that a server names, for the index.
func configMapsOfServer(s *v1alpha1.AuthorizationServer) []string {
	var keys []string
	if s.Spec.Fetch != nil && s.Spec.Fetch.CABundle != nil {
		keys = append(keys, s.Namespace+"/"+s.Spec.Fetch.CABundle.ConfigMapRef.Name)
	}
	for _, w := range s.Spec.WorkloadIssuers {
		if w.JWT != nil && w.JWT.JWKS != nil {
			keys = append(keys, s.Namespace+"/"+w.JWT.JWKS.ConfigMapRef.Name)
		}
	}
	return keys
}
