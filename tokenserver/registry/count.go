package registry

// Counts are how many objects there are, those that are refused among them.
type Counts struct{ Clients, Users, ResourceServers int }

// Count returns how many objects there are.
func (r *Registry) Count() Counts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return Counts{Clients: len(r.clients), Users: len(r.users), ResourceServers: len(r.resourceServers)}
}
