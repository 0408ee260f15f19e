package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
)

// ringAnnotation holds the keyRing on the key Secret. The Secret has no owner: keys outlive their
// AuthorizationServer.
const ringAnnotation = "internal.oauth-operator.dev/keys"

const (
	signingSuffix = ".pem"
	sealingSuffix = ".sealing"
)

// errUnknownKeys: a Secret that has the name of the key Secret says nothing of the keys. It is left
// as it is.
var errUnknownKeys = errors.New("the annotation " + ringAnnotation + " of the Secret is not valid or is missing")

// foreignSecret is the error that a Secret which has the name of the key Secret is another's. It is
// left as it is.
type foreignSecret struct{ why string }

// Error says why, and what to do.
func (f *foreignSecret) Error() string { return "the Secret " + f.why }

// keyState is what is found of a server's keys.
type keyState struct {
	ring keyRing
	// stored is the ring as the annotation has it.
	stored keyRing
	// exists: the Secret is there; version is its resourceVersion, and labeled that it has the
	// labels that it should have.
	exists  bool
	version string
	labeled bool
	// lost are keys that the server had and whose material is gone.
	lost []string
}

// verified remembers which version of each key Secret was seen to hold all its keys, so that it is
// read again only when it changed.
type verified struct {
	mu       sync.Mutex
	versions map[client.ObjectKey]string
}

func newVerified() *verified { return &verified{versions: map[client.ObjectKey]string{}} }

func (v *verified) is(key client.ObjectKey, version string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.versions[key] == version
}

func (v *verified) set(key client.ObjectKey, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.versions[key] = version
}

func keySecretKey(server *v1alpha1.AuthorizationServer) client.ObjectKey {
	return client.ObjectKey{Namespace: server.Namespace, Name: workload.KeysSecretName(server.Name)}
}

// readKeys finds the ring and whether all of its material is there. known are the keys that the
// server's document or status speaks of; revoked ones are not missed.
func (op *operator) readKeys(ctx context.Context, server *v1alpha1.AuthorizationServer, known []documents.Key, revoked []string) (keyState, error) {
	key := keySecretKey(server)
	state, material, err := op.readKeySecret(ctx, key)
	if err != nil {
		return state, err
	}
	state.ring, state.lost, err = takeStock(state.stored, material, known, revoked, op.now())
	if err == nil && len(state.lost) == 0 && len(state.stored.Keys) > 0 {
		op.verified.set(key, state.version)
	}
	return state, err
}

// takeStock compares what is remembered of the keys with what there is. Material lists the keys
// that are there; nil means that all of the ring's are. The ring that it returns is the remembered
// one, or, where nothing is remembered, what can be told from the known keys.
func takeStock(
	remembered keyRing, material []string, known []documents.Key, revoked []string, now time.Time,
) (ring keyRing, lost []string, err error) {
	there := func(kid string) bool { return material == nil || slices.Contains(material, kid) }
	miss := func(kid string) {
		if !slices.Contains(revoked, kid) && !slices.Contains(lost, kid) {
			lost = append(lost, kid)
		}
	}
	if len(remembered.Keys) == 0 && len(remembered.Started) == 0 {
		ring, err = rebuild(material, known, revoked, now)
		for _, k := range known {
			if !ring.has(k.KID) {
				miss(k.KID)
			}
		}
		return ring, lost, err
	}
	for _, k := range remembered.Keys {
		if !there(k.KID) {
			miss(k.KID)
		}
	}
	for _, k := range known {
		// A key leaves the ring long after it was Active: if it is Active to the token servers,
		// this is an older Secret, from a backup.
		if k.Phase == documents.KeyActive && !remembered.has(k.KID) {
			miss(k.KID)
		}
	}
	return remembered, lost, nil
}

// rebuild makes a ring of the known keys that there is material for: the annotation was lost, the
// keys were not. Material of which nothing at all is known is not thrown away, since its records
// may exist in a backup.
func rebuild(material []string, known []documents.Key, revoked []string, now time.Time) (ring keyRing, err error) {
	for _, k := range known {
		if !slices.Contains(material, k.KID) || ring.has(k.KID) {
			continue
		}
		ring.Keys = append(ring.Keys, keyRecord{KID: k.KID, Algorithm: k.Algorithm, Phase: k.Phase, Since: now.UTC().Truncate(time.Second)})
		if k.Phase == documents.KeyActive && !slices.Contains(ring.Started, k.Algorithm) {
			ring.Started = append(ring.Started, k.Algorithm)
		}
	}
	for _, kid := range material {
		if len(known) == 0 && !slices.Contains(revoked, kid) {
			return keyRing{}, errUnknownKeys
		}
	}
	return ring, nil
}

// readKeySecret reads the annotation from the cache, and the list of keys that there is material
// for from the API server, if this version of the Secret was not verified before; material is nil
// then.
func (op *operator) readKeySecret(ctx context.Context, key client.ObjectKey) (state keyState, material []string, err error) {
	cached := secretMetadata()
	err = op.Get(ctx, key, cached)
	if err == nil && op.verified.is(key, cached.ResourceVersion) {
		ring, err := decodeRing(cached)
		return keyState{stored: ring, exists: true, version: cached.ResourceVersion, labeled: labeledKeys(cached)}, nil, err
	}
	if client.IgnoreNotFound(err) != nil {
		return keyState{}, nil, err
	}
	var secret corev1.Secret
	if err := op.live.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return keyState{}, []string{}, nil
		}
		return keyState{}, nil, fmt.Errorf("reading the key Secret: %w", err)
	}
	if why := foreignKeys(&secret); why != "" {
		return keyState{}, nil, &foreignSecret{why}
	}
	ring, err := decodeRing(&secret)
	return keyState{stored: ring, exists: true, version: secret.ResourceVersion, labeled: labeledKeys(&secret)}, materialOf(secret.Data), err
}

// foreignKeys says why a Secret that has the name of a key Secret cannot be used as one; empty: it
// can. It has to have our label, or those that key Secrets had before, or our annotation; and it
// must belong to nothing that would delete it or write into it, such as an OAuthClient that was
// there first.
func foreignKeys(m metav1.Object) string {
	keys := m.GetAnnotations()[ringAnnotation] != "" || m.GetLabels()[workload.KeysLabel] != ""
	owned := len(m.GetOwnerReferences()) > 0 || adopterOf(m) != nil
	switch {
	case keys && owned:
		return "is the key Secret and belongs to another object, with which it would go: keep the Secret, and remove its metadata.ownerReferences and the annotation " +
			adoptedAnnotation
	case owned || !keys && m.GetLabels()[workload.ManagedByLabel] != workload.ManagedBy:
		return "has the name of the key Secret and is not the operator's, or belongs to another object: remove it"
	}
	return ""
}

func labeledKeys(m metav1.Object) bool {
	return m.GetLabels()[workload.KeysLabel] != "" && m.GetLabels()[workload.ManagedByLabel] != workload.ManagedBy
}

// materialOf lists the keys that there are files for; never nil.
func materialOf(data map[string][]byte) []string {
	material := []string{}
	for file, content := range data {
		if kid, ok := kidOf(file); ok && len(content) > 0 {
			material = append(material, kid)
		}
	}
	return material
}

// kidOf is the key that a file of the Secret holds.
func kidOf(file string) (kid string, ok bool) {
	if kid, ok = strings.CutSuffix(file, signingSuffix); !ok {
		kid, ok = strings.CutSuffix(file, sealingSuffix)
	}
	return kid, ok && kid != ""
}

func encodeRing(ring keyRing) (string, error) {
	text, err := json.Marshal(ring)
	if err != nil {
		return "", fmt.Errorf("writing down the keys: %w", err)
	}
	return string(text), nil
}

// decodeRing reads the annotation; the zero ring if there is none. What it says that this manager
// does not know would be lost when it is written again.
func decodeRing(secret metav1.Object) (keyRing, error) {
	var ring keyRing
	text := secret.GetAnnotations()[ringAnnotation]
	if text == "" {
		return ring, nil
	}
	if err := json.Unmarshal([]byte(text), &ring); err != nil || !ring.valid() {
		return keyRing{}, errUnknownKeys
	}
	strict := json.NewDecoder(strings.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&keyRing{}); err != nil {
		return keyRing{}, &versionSkew{verdict: fails(v1alpha1.ReasonManagerTooOld,
			"a newer manager wrote down the keys in Secret %q, and this one does not know all that it says: upgrade the manager; until then the keys stay as they are",
			secret.GetName())}
	}
	return ring, nil
}

// newKeys collects what is generated in one pass, by the name of its file.
type newKeys map[string][]byte

func (n newKeys) generate(random io.Reader) func(algorithm string) (string, error) {
	return func(algorithm string) (string, error) {
		suffix, generate := signingSuffix, func() (string, []byte, error) { return keys.GenerateSigning(algorithm, random) }
		if algorithm == documents.AlgorithmSealing {
			suffix, generate = sealingSuffix, func() (string, []byte, error) { return keys.GenerateSealing(random) }
		}
		kid, content, err := generate()
		if err != nil {
			return "", err
		}
		n[kid+suffix] = content
		return kid, nil
	}
}

// writeKeys stores the ring and new material, and removes the material of keys that left the ring.
// It writes only onto the version that was read. Nothing is written when nothing changed.
func (op *operator) writeKeys(ctx context.Context, server *v1alpha1.AuthorizationServer, state keyState, next keyRing, made newKeys) error {
	if state.exists && state.labeled && len(made) == 0 && reflect.DeepEqual(state.stored, next) {
		return nil
	}
	key := keySecretKey(server)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if state.exists {
		if err := op.live.Get(ctx, key, secret); err != nil {
			return fmt.Errorf("reading the key Secret: %w", err)
		}
		secret.ResourceVersion = state.version
	}
	if err := fillKeySecret(secret, server.Name, next, made); err != nil {
		return err
	}
	var err error
	if state.exists {
		err = op.Update(ctx, secret, client.FieldOwner(FieldManager))
	} else {
		err = op.Create(ctx, secret, client.FieldOwner(FieldManager))
	}
	if err != nil {
		return err
	}
	op.verified.set(key, secret.ResourceVersion)
	return nil
}

// fillKeySecret makes a Secret what the ring says. Files that are no keys are left alone.
func fillKeySecret(secret *corev1.Secret, server string, ring keyRing, made newKeys) error {
	text, err := encodeRing(ring)
	if err != nil {
		return err
	}
	if secret.Labels == nil {
		secret.Labels = map[string]string{}
	}
	if secret.Labels[workload.ManagedByLabel] == workload.ManagedBy { // the labels that key Secrets had before
		maps.DeleteFunc(secret.Labels, func(key, value string) bool { return workload.Labels(server)[key] == value })
	}
	secret.Labels[workload.KeysLabel] = server
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[ringAnnotation] = text
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	maps.DeleteFunc(secret.Data, func(file string, _ []byte) bool {
		kid, ok := kidOf(file)
		return ok && !ring.has(kid)
	})
	maps.Copy(secret.Data, made)
	return nil
}
