package replicas

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// The secret counts as replaced four hours ago: the test does not wait for overlap and two hours.
func TestAnUnusedSecretDoesNotEndWhileAReplicaDoesNotReport(t *testing.T) {
	s := newReplicatedServer(t)
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: s.AppNamespace, Name: "web"}}
	s.Update(c, func() {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Rotation: &v1alpha1.SecretRotation{
			Interval: &metav1.Duration{Duration: 720 * time.Hour}, Overlap: &metav1.Duration{Duration: time.Hour}, Revision: 1,
			RetireWhen: v1alpha1.RetireUnused, MaxOverlap: &metav1.Duration{Duration: 168 * time.Hour},
		}}
	})
	s.WaitFor("the rotation", c, func() bool { return len(c.Status.Credentials) == 2 })
	cutOff := s.replicas()[2].Name()
	restore := apiProxy.cutOffReplica(cutOff)
	defer restore()
	time.Sleep(40 * time.Second) // longer than a replica is live that does not renew itself
	s.replaceEarlier(c, 4*time.Hour)
	for n := range 5 {
		s.Update(c, func() { c.Spec.DisplayName = fmt.Sprint("looked at ", n) })
		s.WaitFor("a pass", c, func() bool { return c.Status.ObservedGeneration == c.Generation })
		if len(c.Status.Credentials) != 2 {
			t.Fatal("it ended though a replica that does not report may have seen a use")
		}
		time.Sleep(time.Second)
	}
	restore()
	n := 0
	s.Eventually("the end, when all report", time.Minute, func() (bool, string) {
		n++
		s.Update(c, func() { c.Spec.DisplayName = fmt.Sprint("looked at again ", n) })
		time.Sleep(time.Second)
		return len(c.Status.Credentials) == 1, "it is good"
	})
}

// replaceEarlier has the Retiring credential of a client be as if a scheduled rotation had replaced it
// some time ago.
func (s *replicatedServer) replaceEarlier(c *v1alpha1.OAuthClient, ago time.Duration) {
	s.T.Helper()
	var list internalv1alpha1.EntryList
	if err := testenv.Kube.List(s.T.Context(), &list, client.InNamespace(s.ServerNamespace)); err != nil {
		s.T.Fatal(err)
	}
	for i := range list.Items {
		e := &list.Items[i]
		if e.Spec.Owner.UID != c.UID || e.Spec.Document == "" {
			continue
		}
		s.Update(e, func() {
			document, err := documents.Decode[documents.Client](e.Spec.Format, e.Spec.Document)
			if err != nil {
				s.T.Fatal(err)
			}
			for j := range document.Credentials {
				if old := &document.Credentials[j]; old.State == documents.CredentialRetiring {
					old.Source = fmt.Sprintf("replaced=%d", time.Now().Add(-ago).Unix())
					old.RetireAfter = time.Now().Add(100 * time.Hour).Unix()
				}
			}
			if e.Spec.Document, err = documents.Encode(document); err != nil {
				s.T.Fatal(err)
			}
		})
	}
}
