// Package clustertest sets up an API server with the CRDs and an AuthorizationServer, and writes
// Entries as the manager does.
package clustertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane/controlplanetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

// Namespace of the AuthorizationServer, and its name.
const (
	Namespace  = "identity"
	ServerName = "main"
)

// API is an API server with an AuthorizationServer in it.
type API struct {
	*controlplane.ControlPlane
	// ServerUID is the UID of the AuthorizationServer.
	ServerUID string
	// Kubeconfig of an administrator.
	Kubeconfig string

	client rest.Interface
}

// Start starts an API server until the test ends, and creates an AuthorizationServer with the
// issuer.
func Start(t testing.TB, issuer string) *API {
	t.Helper()
	cp := controlplanetest.Start(t)
	if err := cp.InstallCRDs(t.Context(), filepath.Join(root(t), "config", "crd", "bases")); err != nil {
		t.Fatal(err)
	}
	api := &API{ControlPlane: cp, Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), client: restClient(t, cp.AdminConfig())}
	if err := cp.WriteKubeconfig(api.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	api.ServerUID = createServer(t, cp, issuer)
	return api
}

func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

func restClient(t testing.TB, config *rest.Config) rest.Interface {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := internalv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config.GroupVersion, config.APIPath, config.QPS = &internalv1alpha1.GroupVersion, "/apis", -1
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func createServer(t testing.TB, cp *controlplane.ControlPlane, issuer string) string {
	t.Helper()
	manifest := fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: oauth-operator.dev/v1alpha1
kind: AuthorizationServer
metadata: {name: %[2]s, namespace: %[1]s}
spec: {issuer: %[3]q}
`, Namespace, ServerName, issuer)
	if err := cp.Apply(t.Context(), "test", []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	kinds, err := dynamic.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	resource := schema.GroupVersionResource{Group: "oauth-operator.dev", Version: "v1alpha1", Resource: "authorizationservers"}
	server, err := kinds.Resource(resource).Namespace(Namespace).Get(t.Context(), ServerName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(server.GetUID())
}

// Put writes the Entries of documents, and returns the resourceVersion of the last.
func (a *API) Put(t testing.TB, documents ...any) string {
	t.Helper()
	version := ""
	for _, doc := range documents {
		for _, e := range registrytest.Entries(t, doc) {
			version = a.PutEntry(t, internalv1alpha1.EntrySpec{
				Space: internalv1alpha1.Space(e.Space), Value: e.Value, Format: e.Format, Document: e.Document,
				Owner: internalv1alpha1.Owner{Kind: kindOf(doc), Name: "owner", UID: types.UID(e.OwnerUID)},
			})
		}
	}
	return version
}

func kindOf(doc any) string {
	switch doc.(type) {
	case documents.Server:
		return "AuthorizationServer"
	case documents.Client:
		return "OAuthClient"
	case documents.User:
		return "OAuthUser"
	case documents.ResourceServer:
		return "ResourceServer"
	case documents.IdentityProvider:
		return "IdentityProvider"
	default:
		return "Namespace"
	}
}

// PutEntry creates or updates one Entry of the server, and returns its resourceVersion.
func (a *API) PutEntry(t testing.TB, spec internalv1alpha1.EntrySpec) string {
	t.Helper()
	if spec.ServerUID == "" {
		spec.ServerUID = types.UID(a.ServerUID)
	}
	entry := &internalv1alpha1.Entry{
		ObjectMeta: metav1.ObjectMeta{
			Name: EntryName(spec), Namespace: Namespace, Labels: map[string]string{internalv1alpha1.ServerUIDLabel: a.ServerUID},
		},
		Spec: spec,
	}
	written := &internalv1alpha1.Entry{}
	old := &internalv1alpha1.Entry{}
	err := a.entries(a.client.Get()).Name(entry.Name).Do(t.Context()).Into(old)
	switch {
	case apierrors.IsNotFound(err):
		err = a.entries(a.client.Post()).Body(entry).Do(t.Context()).Into(written)
	case err == nil:
		entry.ResourceVersion = old.ResourceVersion
		err = a.entries(a.client.Put()).Name(entry.Name).Body(entry).Do(t.Context()).Into(written)
	}
	if err != nil {
		t.Fatal(err)
	}
	return written.ResourceVersion
}

// Delete deletes the Entries of a document.
func (a *API) Delete(t testing.TB, doc any) {
	t.Helper()
	for _, e := range registrytest.Entries(t, doc) {
		name := EntryName(internalv1alpha1.EntrySpec{Space: internalv1alpha1.Space(e.Space), Value: e.Value})
		if err := a.entries(a.client.Delete()).Name(name).Do(t.Context()).Error(); err != nil {
			t.Fatal(err)
		}
	}
}

// EntryName returns the name that Put gives to an Entry.
func EntryName(spec internalv1alpha1.EntrySpec) string {
	sum := sha256.Sum256([]byte(string(spec.Space) + "\x00" + spec.Value))
	return "entry-" + hex.EncodeToString(sum[:16])
}

func (a *API) entries(r *rest.Request) *rest.Request {
	return r.Namespace(Namespace).Resource("entries")
}

// Replica returns a Replica, or nil if there is none.
func (a *API) Replica(t testing.TB, name string) *internalv1alpha1.Replica {
	t.Helper()
	return read(t, a, "replicas", name, &internalv1alpha1.Replica{})
}

// Usage returns a Usage, or nil if there is none.
func (a *API) Usage(t testing.TB, name string) *internalv1alpha1.Usage {
	t.Helper()
	return read(t, a, "usages", name, &internalv1alpha1.Usage{})
}

func read[T runtime.Object](t testing.TB, a *API, resource, name string, into T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	err := a.client.Get().Namespace(Namespace).Resource(resource).Name(name).Do(ctx).Into(into)
	if apierrors.IsNotFound(err) {
		var none T
		return none
	}
	if err != nil {
		t.Fatal(err)
	}
	return into
}
