package controllers

import (
	"encoding/json"
	"reflect"
	"runtime"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// decoded decodes an object from JSON, as a watch does, with memory of its own for all of it.
func decoded[T any](t *testing.T, from *T) *T {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	to := new(T)
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// strip returns what the cache holds of an object.
func strip[T any](t *testing.T, transform func(any) (any, error), object *T) *T {
	t.Helper()
	held, err := transform(object)
	if err != nil {
		t.Fatal(err)
	}
	return held.(*T)
}

func isShared[S ~string](a, b S) bool {
	return unsafe.StringData(string(a)) == unsafe.StringData(string(b))
}

func TestTheCacheHoldsOfAClientWhatControllersReadAndWhatManySayOnce(t *testing.T) {
	metadata := metav1.ObjectMeta{
		Namespace: "shop", Name: "web", UID: "uid", ResourceVersion: "7", Generation: 2, Finalizers: []string{"example.com/keep"},
	}
	want := &v1alpha1.OAuthClient{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "OAuthClient"}, ObjectMeta: metadata,
		Spec: v1alpha1.OAuthClientSpec{
			ServerRef: v1alpha1.ServerReference{Namespace: "identity", Name: "main"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
			GrantTypes: []v1alpha1.GrantType{"client_credentials"}, Scopes: []v1alpha1.Scope{"orders:read"},
		},
		Status: v1alpha1.OAuthClientStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready", Message: "token requests succeed"}}},
	}
	full := decoded(t, want)
	full.Labels, full.ManagedFields = map[string]string{"app.kubernetes.io/name": "web"}, []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	full.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: "{}"}
	one := strip(t, stripClient, full)
	runtime.GC() // an update comes later
	other := strip(t, stripClient, decoded(t, want))
	if !reflect.DeepEqual(one, want) {
		t.Errorf("the cache holds %+v", one)
	}
	if !isShared(one.Status.Conditions[0].Message, other.Status.Conditions[0].Message) || !isShared(one.Spec.Scopes[0], other.Spec.Scopes[0]) ||
		!isShared(one.Kind, other.Kind) || !isShared(one.Spec.ServerRef.Name, other.Spec.ServerRef.Name) {
		t.Error("two clients have two copies of what they say alike")
	}
}

func TestTheEntriesOfAServerHaveWhatTheySayAlikeInCommon(t *testing.T) {
	alike := &sharedByServer{alike: map[types.UID]metav1.ObjectMeta{}}
	entryOf := func(server, label string) *internalv1alpha1.Entry {
		return strip(t, alike.stripEntry, &internalv1alpha1.Entry{
			ObjectMeta: metav1.ObjectMeta{
				Labels: map[string]string{internalv1alpha1.ServerUIDLabel: server, "more": label}, Annotations: map[string]string{unreportedAnnotation: "kept"},
				ManagedFields: []metav1.ManagedFieldsEntry{{Manager: FieldManager}}, OwnerReferences: []metav1.OwnerReference{{Name: server, UID: types.UID(server)}},
			},
			Spec: internalv1alpha1.EntrySpec{ServerUID: types.UID(server), Document: "{}"},
		})
	}
	one, same, relabelled, of := entryOf("a", ""), entryOf("a", ""), entryOf("a", "x"), entryOf("b", "")
	isSame := func(a, b *internalv1alpha1.Entry) (labels, owners bool) {
		return reflect.ValueOf(a.Labels).Pointer() == reflect.ValueOf(b.Labels).Pointer(), &a.OwnerReferences[0] == &b.OwnerReferences[0]
	}
	if labels, owners := isSame(one, same); !labels || !owners {
		t.Errorf("labels are in common: %v; owners are: %v", labels, owners)
	}
	if labels, _ := isSame(one, relabelled); labels || relabelled.Labels["more"] != "x" {
		t.Errorf("an Entry with another label has %v", relabelled.Labels)
	}
	if labels, owners := isSame(one, of); labels || owners || of.OwnerReferences[0].Name != "b" || of.Labels[internalv1alpha1.ServerUIDLabel] != "b" {
		t.Errorf("an Entry of another server has %v, %v", of.Labels, of.OwnerReferences)
	}
	if one.ManagedFields != nil || one.Annotations[unreportedAnnotation] != "kept" || one.Spec.Document != "{}" {
		t.Errorf("the cache holds %+v", one)
	}
	for i := range 2 * maxServersShared {
		entryOf(string(rune('a'+i)), "")
	}
	if len(alike.alike) > maxServersShared {
		t.Errorf("it knows %d servers", len(alike.alike))
	}
}

func TestTheCacheHoldsTheOperatorsOwnMetadataOfASecret(t *testing.T) {
	secretWith := func(labels map[string]string) *metav1.PartialObjectMetadata {
		return strip(t, stripMetadata, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Labels: labels, Annotations: map[string]string{contentAnnotation: "hash", corev1.LastAppliedConfigAnnotation: "content", "example.com/oauth-operator.dev": "x"},
		}})
	}
	ours := map[string]string{workload.ManagedByLabel: workload.ManagedBy}
	one := secretWith(map[string]string{workload.ManagedByLabel: workload.ManagedBy, "app": "web"})
	if !reflect.DeepEqual(one.Labels, ours) || !reflect.DeepEqual(one.Annotations, map[string]string{contentAnnotation: "hash"}) {
		t.Errorf("the cache holds %v, %v", one.Labels, one.Annotations)
	}
	if reflect.ValueOf(one.Labels).Pointer() != reflect.ValueOf(secretWith(ours).Labels).Pointer() {
		t.Error("two Secrets have two copies of the one label that they have")
	}
	if keys := secretWith(map[string]string{workload.KeysLabel: "main"}); keys.Labels[workload.KeysLabel] != "main" {
		t.Errorf("the cache holds %v", keys.Labels)
	}
}
