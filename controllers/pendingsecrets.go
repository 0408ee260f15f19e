package controllers

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pendingSecrets are generated client secrets that no Secret holds yet. The next pass over a client
// goes on with its pending secret, whose hash may be served already. They are in memory only: no
// client has got one that is lost with the manager.
type pendingSecrets struct {
	mu       sync.Mutex
	byClient map[client.ObjectKey]pendingSecret
}

type pendingSecret struct {
	client types.UID
	value  string
}

func newPendingSecrets() *pendingSecrets {
	return &pendingSecrets{byClient: map[client.ObjectKey]pendingSecret{}}
}

// get returns the pending secret of a client, or "" if it has none.
func (p *pendingSecrets) get(c metav1.Object) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found := p.byClient[client.ObjectKey{Namespace: c.GetNamespace(), Name: c.GetName()}]; found.client == c.GetUID() {
		return found.value
	}
	return ""
}

func (p *pendingSecrets) set(c metav1.Object, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byClient[client.ObjectKey{Namespace: c.GetNamespace(), Name: c.GetName()}] = pendingSecret{c.GetUID(), value}
}

func (p *pendingSecrets) forget(c client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byClient, c)
}
