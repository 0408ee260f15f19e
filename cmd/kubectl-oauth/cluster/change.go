package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// FieldManager is whom managedFields name for the fields that the program sets. It does not begin
// with "kubectl": Flux takes fields of such managers for drift and removes them, and a client that
// was suspended in an incident must not be resumed by the next reconciliation.
const FieldManager = "oauth-operator-cli"

// ManagedElsewhere is the error of a change that another manager of the field would revert.
type ManagedElsewhere struct {
	Object   string
	Field    string
	Managers []string
}

func (m *ManagedElsewhere) Error() string {
	return fmt.Sprintf("%s of %s is applied by %s, which would revert the change: change it where that has it from, or use --force to change it until then",
		m.Field, m.Object, strings.Join(m.Managers, " and "))
}

// Change returns which field of an object gets which value, such as {"spec", "suspended"} and true.
// The value is nil if the object is right as it is.
type Change func(object client.Object) (field []string, value any, err error)

// Set makes a change of an object, which it reads into object, and returns what it set. The error is
// a *ManagedElsewhere if another manager applies the field, and force is not set. A merge patch with
// the resourceVersion is the least that says so: it takes no other field, and cannot create an
// object that was deleted meanwhile.
func (c *Cluster) Set(
	ctx context.Context, object client.Object, reference Reference, namespace string, change Change, force bool,
) (field []string, value any, err error) {
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(ctx, object, namespace, reference.Name); err != nil {
			return err
		}
		if field, value, err = change(object); err != nil || value == nil {
			return err
		}
		if managers := managersOf(object, field); len(managers) > 0 && !force {
			return &ManagedElsewhere{
				Object: reference.Kind.Name + " " + qualified(namespace, reference.Name), Field: strings.Join(field, "."), Managers: managers,
			}
		}
		patch, err := patchOf(object, field, value)
		if err != nil {
			return err
		}
		err = c.client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager), client.FieldValidation(metav1.FieldValidationStrict))
		if apierrors.IsConflict(err) {
			return err
		}
		return c.explainError(err, "patch", object, namespace, reference.Name)
	})
	return field, value, err
}

func patchOf(object client.Object, field []string, value any) ([]byte, error) {
	patch := nested(field, value)
	patch["metadata"] = map[string]any{"uid": object.GetUID(), "resourceVersion": object.GetResourceVersion()}
	return json.Marshal(patch)
}

// nested returns an object that has nothing but a field.
func nested(field []string, value any) map[string]any {
	for _, name := range slices.Backward(field[1:]) {
		value = map[string]any{name: value}
	}
	return map[string]any{field[0]: value}
}

// oneOff are managers by which people change an object once. They do not come back to revert
// anything.
var oneOff = []string{FieldManager, "kubectl-edit", "kubectl-patch", "kubectl-create", "kubectl-replace"}

// managersOf returns the managers that have set a field and will set it again.
func managersOf(object client.Object, field []string) []string {
	parts := make([]any, len(field))
	for i, name := range field {
		parts[i] = name
	}
	path, err := fieldpath.MakePath(parts...)
	if err != nil {
		return nil
	}
	var managers []string
	for _, entry := range object.GetManagedFields() {
		if entry.FieldsV1 == nil || entry.Subresource != "" || slices.Contains(oneOff, entry.Manager) {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
			continue // a set that cannot be read names no field
		}
		if set.Has(path) && !slices.Contains(managers, entry.Manager) {
			managers = append(managers, entry.Manager)
		}
	}
	return managers
}

// Appliers returns the managers that apply the object, such as those of GitOps, by server-side
// apply or as kubectl apply does.
func Appliers(object client.Object) []string {
	var managers []string
	for _, entry := range object.GetManagedFields() {
		applies := entry.Operation == metav1.ManagedFieldsOperationApply || entry.Manager == "kubectl-client-side-apply"
		if applies && entry.Subresource == "" && !slices.Contains(managers, entry.Manager) {
			managers = append(managers, entry.Manager)
		}
	}
	return managers
}

// CreateWith creates an object, with a change, and returns what it set. The error wraps that of the API
// server if there is one of that name.
func (c *Cluster) CreateWith(
	ctx context.Context, object client.Object, change Change,
) (field []string, value any, err error) {
	if field, value, err = change(object); err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(nested(field, value))
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(text, object); err != nil {
		return nil, nil, err
	}
	err = c.client.Create(ctx, object, client.FieldOwner(FieldManager), client.FieldValidation(metav1.FieldValidationStrict))
	return field, value, c.explainError(err, "create", object, object.GetNamespace(), object.GetName())
}

// Delete deletes an object.
func (c *Cluster) Delete(ctx context.Context, object client.Object, namespace, name string) error {
	object.SetNamespace(namespace)
	object.SetName(name)
	return c.explainError(c.client.Delete(ctx, object), "delete", object, namespace, name)
}
