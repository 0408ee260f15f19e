package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Each replica writes its Replica every ten seconds, and every manager and replica reads it.
func TestTheSizeOfAReplicaDoesNotDependOnTheNumberOfClients(t *testing.T) {
	size := func(clients int) int {
		var state ReplicaState
		rejected := map[string]rejection{}
		for i := range clients {
			uid := fmt.Sprintf("%036d", i)
			rejected[fmt.Sprintf("e-%061d", i)] = rejection{version: "1234567890", reason: strings.Repeat("r", 5000)}
			state.KeySetProblems = append(state.KeySetProblems, KeySetProblem{ClientUID: uid, Reason: "Unreachable"})
			state.IdentityProviderProblems = append(state.IdentityProviderProblems, IdentityProviderProblem{ProviderUID: uid, Reason: "Unreachable"})
			state.Keys, state.Upstreams = append(state.Keys, uid), append(state.Upstreams, uid)
		}
		state.Problem = strings.Repeat("p", 100*clients)
		c := &Cluster{
			config:  Config{Now: time.Now, State: func() ReplicaState { return state }},
			entries: &entryApplier{rejected: rejected},
		}
		text, err := json.Marshal(c.replicaSpec())
		if err != nil {
			t.Fatal(err)
		}
		return len(text)
	}
	few, many := size(500), size(20_000)
	if diff := many - few; diff < -64 || diff > 64 || many > 128<<10 { // the time has more digits or fewer
		t.Errorf("with 500 clients it has %d bytes, with 20,000 %d", few, many)
	}
}
