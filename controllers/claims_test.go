package controllers

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestAnEntryThatWasEditedOrDeletedIsRepaired(t *testing.T) {
	w := newEnv(t)
	c, user := w.readyClient(), w.readyUser("alice", "correct horse")
	w.readyAPI(ordersAPI, "orders:read")
	before := map[string]internalv1alpha1.EntrySpec{}
	for _, e := range w.entries() {
		before[e.Name] = e.Spec
	}
	if len(before) != 7 { // the server, the namespace, the client, the API and its scope, the user's two names
		t.Errorf("there are %d Entries", len(before))
	}
	// What has nothing random in it is as it was to the letter; a client's credential and a user's hash are made anew when their Entry is lost.
	repaired := func(name string) func() bool {
		return func() bool {
			e := &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: name}}
			if !w.exists(e) || e.Labels[internalv1alpha1.ServerUIDLabel] != string(w.server.UID) {
				return false
			}
			if kind := e.Spec.Owner.Kind; kind == kindClient || kind == kindUser {
				e.Spec.Document = before[name].Document
			}
			return e.Spec == before[name]
		}
	}
	for name, spec := range before {
		what := string(spec.Space) + " " + spec.Value + ": "
		e := &internalv1alpha1.Entry{}
		e.Namespace, e.Name = w.identity, name
		updateObject(w, e, func(e *internalv1alpha1.Entry) { e.Labels = nil })
		eventually.True(t, what+"the label is set again", repaired(name))
		if spec.Format != "" {
			updateObject(w, e, func(e *internalv1alpha1.Entry) {
				e.Spec.Document = strings.Replace(e.Spec.Document, "{", `{"more":1,`, 1)
			})
			eventually.True(t, what+"the document is written again", func() bool {
				w.get(e)
				return !strings.Contains(e.Spec.Document, `"more"`)
			})
			eventually.True(t, what+"it says what it said", repaired(name))
		}
		w.deleteObject(e)
		eventually.True(t, what+"it is made again", repaired(name))
	}
	if !w.logsIn(user, "correct horse") || !w.isCredential(c, w.clientSecretOf(c)) {
		t.Error("the user's password or the client's secret is not in force")
	}

	// A credential that somebody put there goes.
	e := w.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID)
	updateObject(w, e, func(e *internalv1alpha1.Entry) {
		doc, err := decodeEntry[documents.Client](e)
		if err != nil {
			t.Fatal(err)
		}
		doc.Credentials = append(doc.Credentials, documents.Credential{ID: "c-0", SHA256: hashSecret(strong), State: documents.CredentialPending})
		if e.Spec.Document, err = documents.Encode(doc); err != nil {
			t.Fatal(err)
		}
	})
	eventually.True(t, "only the client's own credential is accepted", func() bool { return !w.isCredential(c, strong) && w.isCredential(c, w.clientSecretOf(c)) })
}
