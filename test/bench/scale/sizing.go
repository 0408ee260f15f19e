package main

import "math"

// replicasFor is how many replicas keep the utilization when one of the zones is lost.
func replicasFor(in *input, l load) float64 {
	needed := l.coresBusy(in) / in.of("utilization") / in.of("cores")
	zones := in.of("zones")
	return math.Ceil(needed/(zones-1)) * zones
}

// commits are the writes to the database in a second: a code creates a grant, and a refresh that
// replaces its token changes one. The rest (consents, revocations, a use an hour of a token that is
// kept) is less by orders of magnitude.
func (l load) commits() float64 { return l.codes + l.replaced }

// statements are the exchanges with the database: one to read a grant and what it rests on, one
// more where it changes; a code reads whether the session has ended, and then is one transaction.
// Introspection asks whether the token was revoked.
func (l load) statements() float64 { return 2*l.codes + l.kept + 2*l.replaced + l.introspections }

// databaseCores is how many cores of a database are busy, as it was measured at full load. An
// introspection counts as a refresh that keeps its token: one statement that reads.
func (l load) databaseCores(in *input) float64 {
	share := l.codes/in.of("postgresCodes") + l.replaced/in.of("postgresRefreshes") + (l.kept+l.introspections)/in.of("postgresKept")
	return share * in.of("measuredCores")
}

// connectionsInUse is, by Little's law, how many connections to the database are in use when each
// exchange takes so much longer.
func (l load) connectionsInUse(in *input, longer float64) float64 {
	return l.statements()*(in.of("statement")+longer) + l.commits()*(in.of("commit")-in.of("statement"))
}

func grantsOf(in *input, users float64) float64 { return users * in.of("grantsPerUser") }

// loadTable is what is asked for at the peak, and what it costs.
func loadTable(in *input) [][]string {
	l := peak(in)
	lines := [][]string{{"at the peak of the day", "a second", "cost of one", "cores busy"}}
	sum := 0.0
	add := func(parts []part) {
		for _, p := range parts {
			sum += p.rate * p.cost
			lines = append(lines, []string{p.name, text(p.rate), timeText(p.cost) + " of CPU", text(p.rate * p.cost)})
		}
	}
	add(l.parts(in))
	lines = append(lines, []string{"**requests**", text(l.requests()), "", text(sum)})
	add(l.extras(in))
	return append(lines, []string{"**together**", "", "", text(sum)})
}

// sizeTable is what it needs.
func sizeTable(in *input) [][]string {
	l := peak(in)
	replicas := replicasFor(in, l)
	grants := grantsOf(in, in.of("users"))
	handshakes := l.handshakes(in)
	return [][]string{
		{"", "needed", "how"},
		{"replicas", text(replicas), f("%s cores each, over %s zones; %s of utilization when one is lost", text(in.of("cores")), text(in.of("zones")), text(in.of("utilization")))},
		{"memory of a replica", sizeText(in.of("replicaMemory") + in.of("cores")*(19<<20)), f("%s clients at their highest, and as many passwords at once as there are cores, 19 MiB each", text(in.of("clients")))},
		{"TLS handshakes", text(handshakes) + " a second", f("an idle connection is closed after a minute, or after %s when all replicas have their %s connections", timeText(replicas*in.of("maxConnections")/handshakes), text(in.of("maxConnections")))},
		{"statements to PostgreSQL", text(l.statements()) + " a second", "one for each refresh and introspection, one more where something is written"},
		{"commits in PostgreSQL", text(l.commits()) + " a second", "codes, and refreshes that replace their token"},
		{"cores of the primary", text(math.Ceil(l.databaseCores(in) / in.of("utilization"))), f("%s busy, at a utilization of %s; and a synchronous standby in another zone, as large", text(l.databaseCores(in)), text(in.of("utilization")))},
		{"size of the database", sizeText(grants * in.of("postgresGrant")), f("%s live grants; consents and users of providers come on top", text(grants))},
		{"connections to PostgreSQL", text(replicas * in.of("poolConnections")), f("%s replicas; of these %s in use at once, in one region", text(replicas), text(l.connectionsInUse(in, 0)))},
		{"API servers", text(in.of("apiServers")), "for the clients, and for what is below; the requests of users and machines do not reach them"},
		{"etcd", sizeText(in.of("clients") * in.of("entryEtcd")), f("%s Entries; OAuthClients and Secrets come on top", text(in.of("clients")))},
	}
}

// utilizations at which the table shows waiting times.
var utilizations = []float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.95}

// queueTable is how long requests take at a utilization.
func queueTable(in *input) [][]string {
	lines := [][]string{{"utilization", "a token: p50", "p99", "p99.9", "a password: p99", "a token where users sign in elsewhere: p99", "p99.9"}}
	l := peak(in)
	elsewhere := l
	elsewhere.passwords = 0
	for _, u := range utilizations {
		all, without := simulateQueue(in, l, u), simulateQueue(in, elsewhere, u)
		lines = append(lines, []string{
			text(u), timeText(all.tokens.at(.5)), timeText(all.tokens.at(.99)), timeText(all.tokens.at(.999)), timeText(all.passwords.at(.99)),
			timeText(without.tokens.at(.99)), timeText(without.tokens.at(.999)),
		})
	}
	return lines
}
