package main

import (
	"cmp"
	"math"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// limit is where a part breaks: when what grows with the users reaches what there is.
type limit struct {
	part, limit string
	// needed is what the users of the question need of it, there what there is.
	needed, there float64
	then          string // what happens there
}

// users is with how many users the limit is reached.
func (l limit) users(in *input) float64 { return in.of("users") * l.there / l.needed }

// limitsOf are the limits of one server, whatever is bounded by code counted as it is.
func limitsOf(in *input) []limit {
	users, l := in.of("users"), peak(in)
	grants := grantsOf(in, users)
	replicas := l.coresBusy(in) / in.of("utilization") / in.of("cores")
	counts := in.of("countedPerSecond") * in.of("callTimeout")
	return []limit{
		{"live grants", f("%s of a server, in the code", text(storage.MaxGrantsPerServer)), grants, storage.MaxGrantsPerServer, "no user can sign in anew: 503"},
		{"users of identity providers", f("%s of a server, in the code", text(storage.MaxIdentitiesPerServer)), users, storage.MaxIdentitiesPerServer, "who has not signed in before is refused"},
		{
			"OAuthUsers: an Entry each, in the API server's memory", f("%s for it", sizeText(in.of("apiServerMemory"))),
			users * in.of("entriesMemory") / 1e5, in.of("apiServerMemory"), "the API server ends for lack of memory",
		},
		{"OAuthUsers: the same Entries, in etcd", f("%s", sizeText(in.of("etcd"))), users * in.of("entryEtcd"), in.of("etcd"), "etcd takes no more writes"},
		{
			"storage Kubernetes: grants in the API server's memory", f("%s for it", sizeText(in.of("apiServerMemory"))),
			grants * in.of("kubernetesGrantMemory"), in.of("apiServerMemory"), "the API server ends for lack of memory",
		},
		{"storage Kubernetes: grants in etcd", f("%s", sizeText(in.of("etcd"))), grants * in.of("kubernetesGrantEtcd"), in.of("etcd"), "etcd takes no more writes"},
		{
			"storage Kubernetes: writes at the peak", f("%s refreshes or %s codes a second", text(in.of("kubernetesRefreshes")), text(in.of("kubernetesCodes"))),
			l.replaced/in.of("kubernetesRefreshes") + l.codes/in.of("kubernetesCodes"), 1, "the whole cluster waits for etcd",
		},
		{
			"PostgreSQL: its CPU, on as many cores as it was measured with", f("%s cores, which it shared", text(in.of("measuredCores"))),
			l.databaseCores(in), in.of("measuredCores"), "requests wait for a connection, and get 503 after 5 s",
		},
		{
			"PostgreSQL: counting live grants", f("%s to count", timeText(in.of("callTimeout"))),
			grants, counts, "no grant can be created: 503",
		},
		{
			"PostgreSQL: its connections", f("%s, %s for each replica", text(in.of("postgresConnections")), text(in.of("poolConnections"))),
			replicasFor(in, l) * in.of("poolConnections"), in.of("postgresConnections"), "replicas share those that they have; one that has none answers 503",
		},
		{"replicas", f("%s of an AuthorizationServer, in the schema", text(in.of("maxReplicas"))), replicas, in.of("maxReplicas"), "they cannot be more, and must be larger"},
	}
}

// limitsTable has the limits, first those that are reached first.
func limitsTable(in *input) [][]string {
	all := limitsOf(in)
	slices.SortStableFunc(all, func(a, b limit) int { return cmp.Compare(a.users(in), b.users(in)) })
	lines := [][]string{{"part", "limit", "needed over the limit", "reached with users", "then"}}
	for _, l := range all {
		lines = append(lines, []string{l.part, l.limit, short(l.needed/l.there) + " ×", short(l.users(in)), l.then})
	}
	return append(lines, hanging(in), assertions(in))
}

// hanging is a limit of each replica.
func hanging(in *input) []string {
	l := peak(in)
	rate := (l.codes + l.refreshes() + l.introspections) / replicasFor(in, l)
	most := in.of("storeOperations") / in.of("callTimeout")
	return []string{
		"PostgreSQL hangs: operations of a replica that wait for it", f("%s, in the code, for %s each", text(in.of("storeOperations")), timeText(in.of("callTimeout"))),
		short(rate/most) + " ×", f("any: %s a second at one replica", short(most)), "one more is answered 503 at once, and tokens for machines go on",
	}
}

// assertions is a limit of each client.
func assertions(in *input) []string {
	marks := float64(storage.DefaultMarkBounds(storage.MarkAssertion).PerClient)
	rate := marks / in.of("assertionLifetime")
	return []string{
		"one client with `private_key_jwt`", f("%s assertions remembered, in the code, for %s each", text(marks), timeText(in.of("assertionLifetime"))), "",
		f("any: %s tokens a second", short(rate)), "that client gets 503; shorter assertions and kept tokens help",
	}
}

// regionsTable is what a database in another region does to the connections.
func regionsTable(in *input) [][]string {
	l := peak(in)
	pools := replicasFor(in, l) * in.of("poolConnections")
	lines := [][]string{{"the database is", "a refresh that replaces its token takes", "connections in use", "of all pools"}}
	for _, c := range []struct {
		where  string
		longer float64
	}{{"in the region", 0}, {"in another region", in.of("regions")}} {
		used := l.connectionsInUse(in, c.longer)
		took := in.of("statement") + in.of("commit") + 2*c.longer
		lines = append(lines, []string{c.where, timeText(took), text(math.Ceil(used)), short(100*used/pools) + " %"})
	}
	return lines
}

// guideTable has the same units as the sizing guide of Keycloak.
func guideTable(in *input) [][]string {
	l := peak(in)
	perCore := func(costs ...float64) string {
		sum := 0.0
		for _, c := range costs {
			sum += c
		}
		return short(1 / sum)
	}
	database := l.codes + l.refreshes()
	return [][]string{
		{"", "here", "the guide"},
		{"passwords a second, for a core", perCore(in.of("password"), in.of("handshake")), text(in.of("guidePasswords"))},
		{"tokens for machines a second, each on a connection of its own, for a core", perCore(in.of("token"), in.of("handshake")), text(in.of("guideTokens"))},
		{"refreshes a second, with an ID token (RS256), on a connection of its own, for a core", perCore(in.of("refreshReplaces"), in.of("handshake"), in.of("rs256")), text(in.of("guideRefreshes"))},
		{"cores of the database, for 100 sign-ins and refreshes a second", short(100 * (l.databaseCores(in) / (database + l.introspections))), text(in.of("guideDatabase")) + " at most"},
	}
}
