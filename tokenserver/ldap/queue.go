package ldap

import "github.com/oauth-operator/oauth-operator/tokenserver/places"

// How many sign-ins and confirmations ask a directory at once, sixteen together, and how many more of
// each may wait for that. Each have places of their own: strangers may fill those for sign-ins, and
// must not keep users who are signed in from tokens.
const (
	maxSigningIn, maxWaitingToSignIn   = 10, 54
	maxConfirming, maxWaitingToConfirm = 6, 64
)

func newSignInQueue() *places.Queue { return places.NewQueue(maxSigningIn, maxWaitingToSignIn) }

func newConfirmationQueue() *places.Queue { return places.NewQueue(maxConfirming, maxWaitingToConfirm) }
