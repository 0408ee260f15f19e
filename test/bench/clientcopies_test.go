package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// clientCopies are OAuthClients like one that is Ready, each with a Secret and an Entry as the
// manager would have written them: one that starts finds nothing to do. They are written into etcd,
// since the manager would take ten minutes to make a hundred thousand.
type clientCopies struct {
	env  *testenv.Env
	etcd *etcd
	*clientWrites
	document documents.Client
}

// contentAnnotation is what the manager compares in the metadata of a client's Secret.
const contentAnnotation = "internal.oauth-operator.dev/content"

func clientCopiesOf(b *testing.B, env *testenv.Env, name string) *clientCopies {
	b.Helper()
	c := &clientCopies{env: env, etcd: openEtcd(b), clientWrites: writesFor(b, env, name)}
	if err := json.Unmarshal([]byte(c.entry.Spec.Document), &c.document); err != nil {
		b.Fatal(err)
	}
	if hash := contentHash(c.secret.Data); hash != c.secret.Annotations[contentAnnotation] {
		b.Fatalf("the manager hashes what is in a Secret otherwise than this benchmark: %s is %s", hash, c.secret.Annotations[contentAnnotation])
	}
	c.secret.APIVersion, c.secret.Kind = "v1", "Secret"
	c.client.APIVersion, c.client.Kind = v1alpha1.GroupVersion.String(), compile.KindClient
	c.entry.APIVersion, c.entry.Kind = internalv1alpha1.GroupVersion.String(), "Entry"
	return c
}

// put creates n copies, which are there until the benchmark ends. The API server is away meanwhile: it
// and its clients would take minutes to follow.
func (c *clientCopies) put(b *testing.B, n int) {
	b.Helper()
	b.Cleanup(func() {
		c.withoutAPIServer(b, n, func(i int) error {
			return errors.Join(c.etcd.deleteObject(c.copyOfClient(i)), c.etcd.deleteObject(c.copyOfSecret(i)), c.etcd.deleteObject(c.copyOfEntry(i, "0")))
		})
	})
	c.withoutAPIServer(b, n, func(i int) error {
		if _, err := c.etcd.putObject(c.copyOfClient(i)); err != nil { // before its Secret, whose owner it is
			return err
		}
		version, err := c.etcd.putObject(c.copyOfSecret(i))
		if err != nil {
			return err
		}
		_, err = c.etcd.putObject(c.copyOfEntry(i, version))
		return err
	})
}

// withoutAPIServer does something for each of n copies, with the API server stopped.
func (c *clientCopies) withoutAPIServer(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	testenv.ControlPlane.StopAPIServer()
	doAll(b, 0, n, do)
	if err := testenv.ControlPlane.StartAPIServer(context.Background()); err != nil { // also when the benchmark ends
		b.Fatal(err)
	}
}

func uidOfCopy(kind, i int) types.UID {
	return types.UID(fmt.Sprintf("00000000-0000-4000-%d000-%012d", kind, i))
}

func (c *clientCopies) copyOfClient(i int) *v1alpha1.OAuthClient {
	o := c.client.DeepCopy()
	o.Name, o.UID, o.ResourceVersion = fmt.Sprintf("copy-%d", i), uidOfCopy(8, i), ""
	o.Status.ClientID, o.Status.SecretName = compile.ClientID(o), o.Name+"-oauth"
	for i := range o.Status.Conditions { // one names the Secret
		m := &o.Status.Conditions[i].Message
		*m = strings.ReplaceAll(*m, c.client.Status.SecretName, o.Status.SecretName)
	}
	return o
}

func (c *clientCopies) copyOfSecret(i int) *corev1.Secret {
	of, o := c.copyOfClient(i), c.secret.DeepCopy()
	o.Name, o.UID, o.ResourceVersion = of.Status.SecretName, uidOfCopy(9, i), ""
	o.OwnerReferences[0].Name, o.OwnerReferences[0].UID = of.Name, of.UID
	o.Data[compile.SecretKeyClientID] = []byte(of.Status.ClientID)
	o.Annotations[contentAnnotation] = contentHash(o.Data)
	return o
}

// copyOfEntry returns the Entry of a copy whose Secret has a resourceVersion.
func (c *clientCopies) copyOfEntry(i int, version string) *internalv1alpha1.Entry {
	of, o, document := c.copyOfClient(i), c.entry.DeepCopy(), c.document
	document.Name, document.UID, document.ID, document.DisplayName = of.Name, string(of.UID), of.Status.ClientID, of.Status.ClientID
	document.Credentials = slices.Clone(document.Credentials)
	document.Credentials[0].Source = string(uidOfCopy(9, i)) + "/" + version
	o.Name = compile.EntryName(c.env.Server.UID, compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: document.ID})
	o.UID, o.ResourceVersion = uidOfCopy(10, i), ""
	o.Spec.Value, o.Spec.Owner.UID, o.Spec.Owner.Name = document.ID, of.UID, of.Name
	var err error
	if o.Spec.Document, err = documents.Encode(document); err != nil {
		panic(err) // it was decoded from the same
	}
	return o
}

// contentHash is the hash of a Secret without labels, annotations and templates of its author.
func contentHash(data map[string][]byte) string {
	h := sha256.New()
	_, _ = fmt.Fprint(h, "\n\n")
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if key != compile.SecretKeyClientSecret {
			_, _ = fmt.Fprintf(h, "%q=%q\n", key, strings.ReplaceAll(string(data[key]), string(data[compile.SecretKeyClientSecret]), compile.AnySecret))
		}
	}
	_, _ = fmt.Fprintln(h)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
