package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// AppliedAnnotation is on each object that the manager applies: the hash of what it applied last.
// So a field that is not to be there any more is noticed.
const AppliedAnnotation = "oauth-operator.dev/applied"

// Object is an object of Kubernetes.
type Object interface {
	metav1.Object
	runtime.Object
}

// SetApplied puts the hash of an object, as it is to be applied, into its annotations.
func SetApplied(want Object) error {
	annotations := maps.Clone(want.GetAnnotations())
	delete(annotations, AppliedAnnotation)
	want.SetAnnotations(annotations)
	content, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", want.GetName(), err)
	}
	sum := sha256.Sum256(content)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AppliedAnnotation] = hex.EncodeToString(sum[:8])
	want.SetAnnotations(annotations)
	return nil
}

// IsApplied reports whether an object is as it was applied: it has each field of want. What the API
// server, admission webhooks and people have added to it does not matter.
func IsApplied(want, have Object) (bool, error) {
	w, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return false, fmt.Errorf("converting %s: %w", want.GetName(), err)
	}
	h, err := runtime.DefaultUnstructuredConverter.ToUnstructured(have)
	if err != nil {
		return false, fmt.Errorf("converting %s: %w", have.GetName(), err)
	}
	for _, key := range []string{"status", "apiVersion", "kind"} { // the first is not applied, a cache leaves out the others
		delete(w, key)
	}
	return covers(h, w, ""), nil
}

// shared are the lists that others may add to: they are merged by the names of their items when an
// object is applied. All others are applied whole, such as the subjects of a RoleBinding.
var shared = map[string]bool{
	"containers": true, "env": true, "volumes": true, "volumeMounts": true, "imagePullSecrets": true, "ports": true, "ownerReferences": true,
}

// covers reports whether have, the value of a field, has all that want has.
func covers(have, want any, field string) bool {
	switch want := want.(type) {
	case map[string]any:
		fields, _ := have.(map[string]any)
		for key, value := range want {
			if !covers(fields[key], value, key) {
				return false
			}
		}
		return true
	case []any:
		items, _ := have.([]any)
		if len(items) != len(want) && !shared[field] {
			return false
		}
		for i, item := range want {
			if found := counterpart(items, item, i, shared[field]); found == nil || !covers(found, item, "") {
				return false
			}
		}
		return true
	}
	return have == want
}

// counterpart finds the item of a list that has the name of another; where the list is not shared,
// the one in the same place.
func counterpart(items []any, of any, place int, byName bool) any {
	if !byName {
		return items[place]
	}
	for _, item := range items {
		if nameOf(item) == nameOf(of) {
			return item
		}
	}
	return nil
}

func nameOf(item any) any {
	fields, _ := item.(map[string]any)
	return fields["name"]
}
