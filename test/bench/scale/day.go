package main

import "math"

// hours are by how much more than in the mean of a day users do in each hour: a day with one peak,
// the more pointed the higher it is (the density of von Mises' distribution).
func hours(peakOverMean float64) [24]float64 {
	shape := func(width float64) (all [24]float64, highest float64) {
		sum := 0.0
		for h := range all {
			all[h] = math.Exp(width * (math.Cos(2*math.Pi*float64(h-peakHour)/24) - 1))
			sum += all[h]
		}
		for h := range all {
			all[h] *= 24 / sum
		}
		return all, all[peakHour]
	}
	low, high := 0.0, 1000.0
	for range 60 {
		middle := (low + high) / 2
		if _, highest := shape(middle); highest < peakOverMean {
			low = middle
		} else {
			high = middle
		}
	}
	all, _ := shape(low)
	return all
}

const peakHour = 20

// dayTable is what a day is like.
func dayTable(in *input) [][]string {
	lines := [][]string{{"hour", "requests a second", "passwords", "refreshes", "commits in PostgreSQL", "cores busy", "replicas", "rows that a sweep finds"}}
	factors := hours(in.of("peakOverMean"))
	for h := 2; h < 24; h += 3 {
		l := loadAt(in, factors[h])
		// A grant expires as long after its last use as it lives, at the same hour.
		expired := l.codes * in.of("sweepInterval")
		lines = append(lines, []string{
			f("%02d:00", h), text(l.requests()), text(l.passwords), text(l.refreshes()), text(l.commits()),
			text(l.coresBusy(in)), text(replicasFor(in, l)), text(expired),
		})
	}
	return lines
}

// rotationTable is what changes of clients and reports of their use cost.
func rotationTable(in *input) [][]string {
	clients, replicas := in.of("clients"), replicasFor(in, peak(in))
	writes := in.of("clientWrites")
	rate := clients / in.of("rotationInterval")
	all := clients * writes / in.of("kubernetesRefreshes")
	usage := replicas * math.Ceil(clients/in.of("usageCredentials")) / 3600
	counting := replicas * grantsOf(in, in.of("users")) / in.of("countedPerSecond") / in.of("countInterval")
	walk := grantsOf(in, in.of("users")) / in.of("examinedEachSweep") * in.of("sweepInterval")
	return [][]string{
		{"", "", "how"},
		{"secrets rotated, on a schedule", f("%s an hour", short(rate*3600)), f("%s clients, spread over %s; at most ten times as many an hour at the end of an interval, if all began on one day", text(clients), timeText(in.of("rotationInterval")))},
		{"API writes for it", f("%s a second", short(rate*writes)), f("%s for each, as for a new client", text(writes))},
		{"CPU of all replicas for it", f("%s cores", short(rate*2*replicas*in.of("change"))), "each rotation changes an Entry twice"},
		{"all secrets at once", timeText(all), f("%s API writes at %s a second, the rate at which etcd was measured", text(clients*writes), text(in.of("kubernetesRefreshes")))},
		{"usage of credentials", f("%s API writes a second", short(usage)), f("each of %s replicas reports all of them once an hour, %s in one write", text(replicas), text(in.of("usageCredentials")))},
		{"counting live grants", f("%s cores of PostgreSQL", short(counting)), f("each replica counts all, every %s; if the limit in the code were not there", timeText(in.of("countInterval")))},
		{"ending grants without a consent", timeText(walk), f("one replica walks through all grants, %s a minute; a use of such a grant is refused at once", text(in.of("examinedEachSweep")))},
	}
}
