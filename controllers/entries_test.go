package controllers

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestAnEntryThatWasEditedOrDeletedIsRepaired(t *testing.T) {
	env := newEnv(t)
	c, user := env.readyClient(), env.readyUser("alice", "correct horse")
	env.readyAPI(ordersAPI, "orders:read")
	before := map[string]internalv1alpha1.EntrySpec{}
	for _, e := range env.entries() {
		before[e.Name] = e.Spec
	}
	if len(before) != 7 { // the server, the namespace, the client, the API and its scope, the user's two names
		t.Errorf("there are %d Entries", len(before))
	}
	// What has nothing random in it is as it was to the letter; a client's credential and a user's
	// hash are made anew when their Entry is lost.
	repaired := func(name string) func() bool {
		return func() bool {
			e := &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name}}
			if !env.exists(e) || e.Labels[internalv1alpha1.ServerUIDLabel] != string(env.server.UID) {
				return false
			}
			if kind := e.Spec.Owner.Kind; kind == compile.KindClient || kind == compile.KindUser {
				e.Spec.Document = before[name].Document
			}
			return e.Spec == before[name]
		}
	}
	for name, spec := range before {
		what := string(spec.Space) + " " + spec.Value + ": "
		e := &internalv1alpha1.Entry{}
		e.Namespace, e.Name = env.identity, name
		updateObject(env, e, func(e *internalv1alpha1.Entry) { e.Labels = nil })
		eventually.True(t, what+"the label is set again", repaired(name))
		if spec.Format != "" {
			updateObject(env, e, func(e *internalv1alpha1.Entry) {
				e.Spec.Document = strings.Replace(e.Spec.Document, "{", `{"more":1,`, 1)
			})
			eventually.True(t, what+"the document is written again", func() bool {
				env.get(e)
				return !strings.Contains(e.Spec.Document, `"more"`)
			})
			eventually.True(t, what+"it says what it said", repaired(name))
		}
		env.deleteObject(e)
		eventually.True(t, what+"it is made again", repaired(name))
	}
	if !env.logsIn(user, "correct horse") || !env.isCredential(c, env.clientSecretOf(c)) {
		t.Error("the user's password or the client's secret is not in force")
	}

	// A credential that another program added is removed.
	e := env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID)
	updateObject(env, e, func(e *internalv1alpha1.Entry) {
		doc, err := decodeEntry[documents.Client](e)
		if err != nil {
			t.Fatal(err)
		}
		doc.Credentials = append(doc.Credentials, documents.Credential{ID: "c-0", SHA256: hashSecret(strongSecret), State: documents.CredentialPending})
		if e.Spec.Document, err = documents.Encode(doc); err != nil {
			t.Fatal(err)
		}
	})
	eventually.True(t, "only the client's own credential is accepted", func() bool { return !env.isCredential(c, strongSecret) && env.isCredential(c, env.clientSecretOf(c)) })
}

// What it would cost is in docs/performance.md.
func TestTheAPIServerRecordsNoFieldOwnersOfAnEntryThatWasUpdated(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient() // whose Entry got its document, and after that what became of the credential
	entry := func() *internalv1alpha1.Entry { return env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID) }
	if owners := entry().ManagedFields; len(owners) > 0 {
		t.Errorf("the client is Ready: %+v", owners)
	}
	before := entry().ResourceVersion
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "changed" })
	eventually.True(t, "the Entry is updated once more", func() bool { return entry().ResourceVersion != before })
	if owners := entry().ManagedFields; len(owners) > 0 {
		t.Errorf("the client has changed: %+v", owners)
	}
}
