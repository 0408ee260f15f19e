package token_test

import (
	"os"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

// Every test runs twice: with a store that reads records one by one, and with one that reads a grant
// together with what it rests on.
func TestMain(m *testing.M) {
	code := m.Run()
	servertest.JoinReads = true
	os.Exit(max(code, m.Run()))
}
