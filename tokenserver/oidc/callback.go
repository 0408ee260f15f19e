package oidc

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/places"
)

// Answer are the parameters of an authentication response (OpenID Connect Core section 3.1.2.5).
type Answer struct {
	Code   string
	Error  string
	Issuer string // RFC 9207; empty: it was not sent
	// Source is the network address that it came from.
	Source string
}

// SignIn is what a provider has proved of a user. It has no token and no code.
type SignIn struct {
	// Subject is the value of the subject claim, 1 to 255 bytes.
	Subject []byte
	// Upstream are the claims of the ID token, and of the UserInfo endpoint where it is asked.
	Upstream map[string]any
	// AMR are the methods by which the user signed in there (RFC 8176).
	AMR []string
	// AuthTime is when the user signed in there; zero if the provider does not say so.
	AuthTime time.Time
}

// Callback is Provider.Callback for the provider with a document. The error for a document that cannot
// be used is an *Error too.
func (p *Providers) Callback(ctx context.Context, document documents.IdentityProvider, a Answer, pending Pending, redirectURI string) (SignIn, error) {
	provider, err := p.Of(document)
	if err != nil {
		return SignIn{}, &Error{Away, err}
	}
	return provider.Callback(ctx, a, pending, redirectURI)
}

// How many callbacks ask a provider at once, and how many more may wait for that: strangers can send
// callbacks with codes that they have made up, and each takes connections to the provider.
const maxAsking, maxWaiting = 32, 96

// Callback checks an authentication response, redeems its code and checks what comes with it. The
// caller has made sure that the response came to the browser that pending is of, with its state. The
// error is an *Error.
func (p *Provider) Callback(ctx context.Context, a Answer, pending Pending, redirectURI string) (signIn SignIn, err error) {
	httpserver.Wait(ctx, func(ctx context.Context) { signIn, err = p.callback(ctx, a, pending, redirectURI) })
	return signIn, err
}

func (p *Provider) callback(ctx context.Context, a Answer, pending Pending, redirectURI string) (SignIn, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return SignIn{}, err
	}
	switch {
	// RFC 9207 section 2.4: another provider's answer, before anything else of it is believed.
	case a.Issuer != "" && a.Issuer != d.Issuer:
		return SignIn{}, invalid("the response is by another issuer")
	case a.Issuer == "" && d.SendsIssuer:
		return SignIn{}, invalid("the response has no iss, which the provider always sends")
	case a.Error != "":
		return SignIn{}, &Error{Refused, errors.New("the provider answers " + knownCode(a.Error))}
	case a.Code == "":
		return SignIn{}, invalid("the response has neither a code nor an error")
	}
	name, secret, err := p.secret()
	if err != nil {
		return SignIn{}, err
	}
	leave, err := p.places.Enter(ctx, places.Request{Quotas: []places.Quota{places.QuarterQuota(a.Source)}})
	if err != nil {
		return SignIn{}, &Error{Busy, err}
	}
	defer leave()
	// The code is redeemed once.
	exchanging := context.WithValue(ctx, oauth2.HTTPClient, p.client)
	token, err := p.config(d, redirectURI, secret).Exchange(exchanging, a.Code, oauth2.VerifierOption(pending.Verifier))
	if err != nil {
		return SignIn{}, p.noteEndpoints(ctx, name, errExchange(err))
	}
	signIn, err := p.read(ctx, d, token, pending)
	return signIn, p.noteEndpoints(ctx, name, err)
}

// read returns what a token response proves (OpenID Connect Core sections 3.1.3.5 to 3.1.3.8).
func (p *Provider) read(ctx context.Context, d *discovery, token *oauth2.Token, pending Pending) (SignIn, error) {
	idToken, ok := token.Extra("id_token").(string)
	if !ok {
		return SignIn{}, &Error{Away, fetch.NewError(fetch.BadAnswer, errors.New("the token response has no ID token"))}
	}
	signed, err := p.verify(ctx, d, idToken)
	if err != nil {
		return SignIn{}, err
	}
	claims, err := p.checkIDToken(signed, token.AccessToken, pending)
	if err != nil {
		return SignIn{}, err
	}
	signIn := SignIn{Upstream: claims, AMR: amrOf(claims)}
	if signIn.Subject, err = subjectOf(claims, p.document.SubjectAttribute); err != nil {
		return SignIn{}, err
	}
	if signIn.AuthTime, err = p.authTimeOf(claims, pending); err != nil {
		return SignIn{}, err
	}
	if !p.document.OIDC.UserInfo {
		return signIn, nil
	}
	signIn.Upstream, err = p.addUserInfo(ctx, d, token, claims)
	return signIn, err
}
