// Package notbefore decides what the tokensNotBefore of a server, a client, a user or an identity
// provider voids: what was issued in that second or before. It compares times and touches no record,
// so lowering a tokensNotBefore makes what has not expired good again.
//
// All functions are pure.
package notbefore

import "time"

// Times are the values of tokensNotBefore in the documents, in Unix seconds; zero, or no entry in a
// map: none.
type Times struct {
	Server  int64
	Clients map[string]int64 // by UID
	Users   map[string]int64 // by UID
	// Providers are those of identity providers, by UID.
	Providers map[string]int64
}

// Limits are what Times void at one moment for one client and one user of one identity provider.
type Limits struct {
	// Login is the last second, in Unix time, whose logins are void, with all that rests on them;
	// zero: none.
	Login int64
	// Client is the last second whose authorizations and tokens of the client are void; zero: none.
	Client int64
}

// At returns the limits at now. A time in the future voids nothing until it comes. An empty UID
// stands for no client, no user, or a user of no identity provider.
func (t Times) At(now time.Time, clientUID, userUID, providerUID string) Limits {
	past := func(limit int64) int64 {
		if limit > now.Unix() {
			return 0
		}
		return limit
	}
	return Limits{Login: max(past(t.Server), past(t.Users[userUID]), past(t.Providers[providerUID])), Client: past(t.Clients[clientUID])}
}

// VoidsLogin reports whether a login is void. Sessions rest on one.
func (l Limits) VoidsLogin(at time.Time) bool { return voids(l.Login, at) }

// VoidsAuthorization reports whether what a user has authorized is void, given when the user logged
// in, and when the authorization was given.
func (l Limits) VoidsAuthorization(login, authorized time.Time) bool {
	return voids(l.Login, login) || voids(max(l.Login, l.Client), authorized)
}

// VoidsToken reports whether a token that was issued at a time is void.
func (l Limits) VoidsToken(issued time.Time) bool { return voids(max(l.Login, l.Client), issued) }

func voids(limit int64, at time.Time) bool { return limit > 0 && at.Unix() <= limit }
