package controllers

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// pendingSecrets are generated client secrets that no Secret holds yet, by the name of the client.
// The next pass over a client goes on with its pending secret, whose hash may be served already.
// They are in memory only: no client has got one that is lost with the manager.
type pendingSecrets struct{ byClient sync.Map }

type pendingSecret struct {
	client types.UID
	value  string
}

// get returns the pending secret of a client, or "" if it has none.
func (p *pendingSecrets) get(c *v1alpha1.OAuthClient) string {
	found, _ := p.byClient.Load(types.NamespacedName{Namespace: c.Namespace, Name: c.Name})
	if pending, _ := found.(pendingSecret); pending.client == c.UID {
		return pending.value
	}
	return ""
}

func (p *pendingSecrets) set(c *v1alpha1.OAuthClient, value string) {
	p.byClient.Store(types.NamespacedName{Namespace: c.Namespace, Name: c.Name}, pendingSecret{c.UID, value})
}

func (p *pendingSecrets) forget(name types.NamespacedName) { p.byClient.Delete(name) }
