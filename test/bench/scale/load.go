package main

// load is what a server is asked for in a second.
type load struct {
	passwords, authorizations, codes float64
	kept, replaced                   float64 // refreshes, by what becomes of the token
	tokens, introspections           float64 // what machines ask for
}

const day = 24 * 3600.0

// loadAt is the load when users do so many times what they do in the mean of a day. What machines
// ask for does not change: it is what is left of the requests at the peak.
func loadAt(in *input, factor float64) load {
	perDay := in.of("users") * in.of("activeShare")
	users := func(factor float64) load {
		return load{
			passwords: factor * perDay * in.of("signInsPerDay") / day,
			// Each code has an authorization request, which is two where a password is asked for.
			authorizations: factor * perDay * in.of("codesPerDay") / day,
			codes:          factor * perDay * in.of("codesPerDay") / day,
			kept:           factor * perDay * in.of("refreshesPerDay") / day * (1 - in.of("publicShare")),
			replaced:       factor * perDay * in.of("refreshesPerDay") / day * in.of("publicShare"),
		}
	}
	l := users(factor)
	machines := max(0, in.of("peakRequests")-users(in.of("peakOverMean")).requests())
	l.introspections = machines * in.of("introspectionShare")
	l.tokens = machines - l.introspections
	return l
}

func peak(in *input) load { return loadAt(in, in.of("peakOverMean")) }

func (l load) requests() float64 {
	return l.passwords + l.authorizations + l.codes + l.refreshes() + l.tokens + l.introspections
}

func (l load) refreshes() float64 { return l.kept + l.replaced }

// handshakes are the connections that begin in a second: a user's browser or app opens one for each
// of its requests, a machine sends many on one.
func (l load) handshakes(in *input) float64 {
	return l.authorizations + l.codes + l.refreshes() + (l.tokens+l.introspections)/in.of("requestsPerConnection")
}

// part is a kind of requests, and what one of them costs the token server.
type part struct {
	name       string
	rate, cost float64
	idToken    bool // the answer has one
}

const (
	passwordPart = "passwords"
	tokenPart    = "tokens for machines"
)

// parts are what the load consists of.
func (l load) parts(in *input) []part {
	return []part{
		{name: passwordPart, rate: l.passwords, cost: in.of("password")},
		{name: "authorization requests", rate: l.authorizations, cost: in.of("authorize")},
		{name: "codes redeemed", rate: l.codes, cost: in.of("code"), idToken: true},
		{name: "refreshes that keep their token", rate: l.kept, cost: in.of("refreshKeeps"), idToken: true},
		{name: "refreshes that replace their token", rate: l.replaced, cost: in.of("refreshReplaces"), idToken: true},
		{name: tokenPart, rate: l.tokens, cost: in.of("token")},
		{name: "introspections", rate: l.introspections, cost: in.of("introspection")},
	}
}

// extras are what comes on top of requests.
func (l load) extras(in *input) []part {
	return []part{
		{name: "ID tokens with RS256, one for each code and refresh", rate: l.codes + l.refreshes(), cost: in.of("rs256")},
		{name: "TLS handshakes, where TLS ends at the token server", rate: l.handshakes(in), cost: in.of("handshake")},
	}
}

// coresBusy is how many cores the token servers compute on.
func (l load) coresBusy(in *input) float64 {
	sum := 0.0
	for _, p := range append(l.parts(in), l.extras(in)...) {
		sum += p.rate * p.cost
	}
	return sum
}
