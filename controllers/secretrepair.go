package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// repairedSecret is what the Secret of a client was last written again with, while its value stayed.
type repairedSecret struct {
	secret     types.UID
	content    string    // the hash of all but the value
	repairedAt time.Time // when another program's edit was last undone; zero: none was
}

// repairedSecrets are the Secrets of clients that were written again, by the name of the client. An
// edit by another program stays for repairInterval if the one before was undone just now.
type repairedSecrets struct{ byClient sync.Map }

func (m *repairedSecrets) forget(name types.NamespacedName) { m.byClient.Delete(name) }

// limit leaves the Secret out of a plan that only undoes an edit of something else than the value,
// if the one before was undone just now. It returns when it may be undone, or the zero time.
func (m *repairedSecrets) limit(c *v1alpha1.OAuthClient, target *secretTarget, plan *credentialPlan, now time.Time) (next time.Time) {
	if plan.secret == "" || target.metadata == nil || !target.isOwn || !plan.keepsActive() {
		return time.Time{}
	}
	repaired := repairedSecret{secret: target.metadata.UID, content: target.content.hash()}
	found, _ := m.byClient.Load(client.ObjectKeyFromObject(c))
	if before, _ := found.(repairedSecret); before.secret == repaired.secret && before.content == repaired.content {
		if next = before.repairedAt.Add(repairInterval); next.After(now) {
			plan.secret = ""
			return next
		}
		repaired.repairedAt = now
	}
	m.byClient.Store(client.ObjectKeyFromObject(c), repaired)
	return time.Time{}
}

// keepsActive reports whether the value that a plan writes is that of the Active credential.
func (p credentialPlan) keepsActive() bool {
	active := findByState(p.credentials, documents.CredentialActive)
	return active != nil && active.ID == p.activeID
}
