package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// etcd writes Entries where the API server has them, and as it stores them: it watches etcd, and
// cannot tell who wrote. 100,000 take a minute, where the API server would take five.
type etcd struct {
	url    string
	client *http.Client
}

func openEtcd(b *testing.B) *etcd {
	b.Helper()
	url, client, err := testenv.ControlPlane.Etcd()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.CloseIdleConnections)
	return &etcd{url, client}
}

func entryKey(namespace, name string) []byte {
	return []byte("/registry/internal.oauth-operator.dev/entries/" + namespace + "/" + name)
}

// put creates the Entries that entries returns for from, and up to but not including, to. Of what the
// API server adds to an object they have the same as like, an Entry that it has stored. Each is
// written by itself, as the API server does: Entries of one transaction would have one
// resourceVersion, and a watch that goes on from there would miss some of them.
func (e *etcd) put(b *testing.B, like *internalv1alpha1.Entry, from, to int, entries func(i int) *internalv1alpha1.Entry) {
	b.Helper()
	stored := e.get(b, like)
	doAll(b, from, to, func(i int) error {
		put, err := putOf(stored, entries(i))
		if err != nil {
			return err
		}
		_, err = e.do("/v3/kv/put", put)
		return err
	})
}

// putOf returns the request that writes an Entry.
func putOf(stored map[string]any, entry *internalv1alpha1.Entry) (map[string]any, error) {
	metadata := maps.Clone(stored["metadata"].(map[string]any))
	metadata["name"], metadata["uid"] = entry.Name, uuid.NewUUID()
	object := maps.Clone(stored)
	object["metadata"], object["spec"] = metadata, entry.Spec
	value, err := json.Marshal(object)
	return map[string]any{"key": entryKey(entry.Namespace, entry.Name), "value": value}, err
}

func (e *etcd) get(b *testing.B, entry *internalv1alpha1.Entry) map[string]any {
	b.Helper()
	answer, err := e.do("/v3/kv/range", map[string]any{"key": entryKey(entry.Namespace, entry.Name)})
	if err != nil {
		b.Fatal(err)
	}
	var found struct{ KVs []struct{ Value []byte } }
	if err := json.Unmarshal(answer, &found); err != nil || len(found.KVs) != 1 {
		b.Fatalf("etcd has %d of Entry %s (%v)", len(found.KVs), entry.Name, err)
	}
	var object map[string]any
	if err := json.Unmarshal(found.KVs[0].Value, &object); err != nil {
		b.Fatal(err)
	}
	return object
}

// delete deletes the Entries of a namespace whose names begin with prefix.
func (e *etcd) delete(namespace, prefix string) error {
	first := entryKey(namespace, prefix)
	end := bytes.Clone(first)
	end[len(end)-1]++
	_, err := e.do("/v3/kv/deleterange", map[string]any{"key": first, "range_end": end})
	return err
}

// keyInEtcd is where the API server has an object of a kind, with a name.
func keyInEtcd(like client.Object, name string) []byte {
	switch like.(type) {
	case *v1alpha1.OAuthClient:
		return []byte("/registry/oauth-operator.dev/oauthclients/" + like.GetNamespace() + "/" + name)
	case *internalv1alpha1.Entry:
		return entryKey(like.GetNamespace(), name)
	case *corev1.Secret:
		return []byte("/registry/secrets/" + like.GetNamespace() + "/" + name)
	}
	panic(fmt.Sprintf("no key is known for a %T", like))
}

// putObject writes an object, as JSON, and returns the resourceVersion that it has then. The API
// server writes a Secret in another format, and reads both.
func (e *etcd) putObject(o client.Object) (version string, err error) {
	value, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	answer, err := e.do("/v3/kv/put", map[string]any{"key": keyInEtcd(o, o.GetName()), "value": value})
	if err != nil {
		return "", err
	}
	var put struct{ Header struct{ Revision string } }
	if err := json.Unmarshal(answer, &put); err != nil || put.Header.Revision == "" {
		return "", fmt.Errorf("etcd answered %s (%w)", answer, err)
	}
	return put.Header.Revision, nil
}

func (e *etcd) deleteObject(o client.Object) error {
	_, err := e.do("/v3/kv/deleterange", map[string]any{"key": keyInEtcd(o, o.GetName())})
	return err
}

// do sends a request to the JSON gateway of etcd, which has bytes in base64, as encoding/json does.
func (e *etcd) do(path string, request any) ([]byte, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	response, err := e.client.Post(e.url+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("etcd answered %d %s", response.StatusCode, answer)
	}
	return answer, err
}
