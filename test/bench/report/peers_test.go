package main

import (
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

func TestServersAreSideBySideAndTheLeastOfAllIsBold(t *testing.T) {
	var f results.File
	f.Add(run1,
		results.Row{Group: "peers", Name: "a server", Note: "records in a database"},
		results.Row{Group: "peers", Name: "a server: a token", Unit: "µs of CPU", Value: 50},
		results.Row{Group: "peers", Name: "a server: a token, in the database", Unit: "µs of CPU", Value: 60},
		results.Row{Group: "peers", Name: "a server: a refresh", Unit: "µs of CPU", Value: 90},
		results.Row{Group: "peers", Name: "a server: memory", Unit: "MiB", Value: 70},
		results.Row{Group: "peers", Name: "another", Note: "records in memory"},
		results.Row{Group: "peers", Name: "another: a token", Unit: "µs of CPU", Value: 100},
		results.Row{Group: "peers", Name: "another: memory", Unit: "MiB", Value: 80},
		results.Row{Group: "peers", Name: "a third", Note: "not measured: there is no Java"},
	)
	got := peersTables(f)
	// 50 is less than 100, but not with its database. What one server alone has is not the least of all.
	for _, want := range []string{
		"| | a token | a refresh | memory |\n",
		"| a server | 50 + 60 µs of CPU | 90 µs of CPU | **70 MiB** |\n",
		"| another | **100 µs of CPU** | | 80 MiB |\n",
		"| a third | not measured: there is no Java |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
}
