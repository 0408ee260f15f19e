package testenv

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// PasswordSecret returns a Secret with a user's password under the key "password".
func (e *Env) PasswordSecret(name, password string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: name}, StringData: map[string]string{"password": password}}
}

// NewUser returns a user with the claims of alice. The Secret of the same name holds the password.
func (e *Env) NewUser(name, username, subject string) *v1alpha1.OAuthUser {
	return &v1alpha1.OAuthUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: name},
		Spec: v1alpha1.OAuthUserSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: username, Subject: subject,
			PasswordSecretRef: &v1alpha1.SecretKeyReference{Name: name, Key: "password"},
			Claims:            &runtime.RawExtension{Raw: []byte(`{"name": "Alice Liddell", "email": "` + Email + `", "groups": ["` + Group + `"]}`)},
		},
	}
}

// ReadyClient creates an OAuthClient in the app team's namespace and waits until it is Ready.
func (e *Env) ReadyClient(name string, spec v1alpha1.OAuthClientSpec) *v1alpha1.OAuthClient {
	e.T.Helper()
	c := e.CreateClient(name, spec)
	e.WaitFor("the client "+name+" to be Ready", c, func() bool { return IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	return c
}

// CreateClient creates an OAuthClient in the app team's namespace.
func (e *Env) CreateClient(name string, spec v1alpha1.OAuthClientSpec) *v1alpha1.OAuthClient {
	e.T.Helper()
	spec.ServerRef = v1alpha1.ServerReference{Name: "main", Namespace: e.ServerNamespace}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: e.AppNamespace, Name: name}, Spec: spec}
	e.Create(c)
	return c
}

// ReadyAPI creates a ResourceServer "api" in the app team's namespace, changed by the functions,
// and waits until it is Ready.
func (e *Env) ReadyAPI(identifier string, scopes []string, change ...func(*v1alpha1.ResourceServer)) *v1alpha1.ResourceServer {
	e.T.Helper()
	r := &v1alpha1.ResourceServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.AppNamespace, Name: "api"},
		Spec: v1alpha1.ResourceServerSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: e.ServerNamespace}, Identifier: identifier,
		},
	}
	for _, scope := range scopes {
		r.Spec.Scopes = append(r.Spec.Scopes, v1alpha1.ResourceScope{Name: scope})
	}
	for _, f := range change {
		f(r)
	}
	e.Create(r)
	e.WaitFor("the ResourceServer to be Ready", r, func() bool { return IsTrue(r.Status.Conditions, v1alpha1.ConditionReady) })
	return r
}

// Create creates an object.
func (e *Env) Create(o client.Object) {
	e.T.Helper()
	if err := Kube.Create(e.T.Context(), o); err != nil {
		e.T.Fatal(err)
	}
}

// Delete deletes an object.
func (e *Env) Delete(o client.Object) {
	e.T.Helper()
	if err := Kube.Delete(e.T.Context(), o); err != nil {
		e.T.Fatal(err)
	}
}

// Update changes an object, and reads it again and retries when another writer was faster.
func (e *Env) Update(o client.Object, change func()) {
	e.T.Helper()
	e.WaitFor("the update of "+o.GetName(), o, func() bool {
		change()
		return Kube.Update(e.T.Context(), o) == nil
	})
}

// WaitFor reads the object until the condition is true.
func (e *Env) WaitFor(what string, o client.Object, condition func() bool) {
	e.T.Helper()
	e.Eventually(what, 30*time.Second, func() (bool, string) {
		if err := Kube.Get(e.T.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return false, err.Error()
		}
		if condition() {
			return true, ""
		}
		status, _ := json.MarshalIndent(o, "", " ")
		return false, string(status)
	})
}

// Eventually fails the test unless the condition becomes true within the timeout. The failure
// quotes the state that the condition reported last.
func (e *Env) Eventually(description string, timeout time.Duration, condition func() (isTrue bool, state string)) {
	e.T.Helper()
	eventually.Within(e.T, timeout, description, condition)
}

// IsTrue reports whether the condition of the type has the status True.
func IsTrue(conditions []metav1.Condition, conditionType string) bool {
	return meta.IsStatusConditionTrue(conditions, conditionType)
}
