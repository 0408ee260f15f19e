// Package login is the login page. It lets the user choose a way to sign in. It verifies a username
// and a password, begins a session, and redirects back to the authorization endpoint; or it sends the
// browser to an identity provider, from where package callback goes on. It opens only flows that are
// for it, in the browser that they belong to.
//
//	login.go     Handler: which page is shown
//	password.go  the form for username and password
//	directory.go the same form, for a password that a directory verifies
//	chooser.go   the page with the ways to sign in
//	depart.go    the way to an OpenID provider
package login

import (
	"log/slog"
	"net/http"
	"net/url"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler is the login page, GET and POST, for web.Adapter.ForBrowser. All fields are required.
type Handler struct {
	Registry  *registry.Registry
	Flows     *interaction.Flows
	Sessions  *session.Sessions
	Passwords *password.Verifier
	Throttle  *throttle.Throttle
	Devices   *throttle.Devices
	Providers *oidc.Providers
	// Directories verify passwords of users from elsewhere, whom Users records.
	Directories *ldap.Directories
	Users       *users.Users
	Log         *slog.Logger
}

// paramWay is the parameter with the name of the way that the user has chosen.
const paramWay = "way"

// visit is a request for the login page.
type visit struct {
	w    http.ResponseWriter
	r    *http.Request
	flow *interaction.ResolvedFlow
	// sealed is the flow as it came.
	sealed string
	// ways are those to sign in to the client; at least one.
	ways interaction.Ways
}

// Handle handles one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	isPost := r.Method == http.MethodPost
	if isPost {
		if err := interaction.CheckSameOrigin(r); err != nil {
			return err
		}
	}
	params, err := oauth.ParseForm(r, isPost)
	if err != nil {
		return err
	}
	v := visit{w: w, r: r, sealed: params.Get(interaction.ParamFlow)}
	if v.flow, err = h.Flows.Open(r, v.sealed, interaction.StepLogin); err != nil {
		return err
	}
	web.NoteClient(r.Context(), v.flow.Client.ID)
	if v.ways = h.Flows.Ways(v.flow).Fitting(h.Flows, v.flow); len(v.ways) == 0 {
		return &web.PageError{Status: http.StatusServiceUnavailable, Code: oauth.TemporarilyUnavailable, Message: pages.MessageNoWay}
	}
	if isPost {
		return h.handleForm(v, params)
	}
	if way, ok := v.ways.ByName(params.Get(paramWay)); ok {
		return h.follow(v, way)
	}
	if only := v.ways[0]; len(v.ways) == 1 && v.flow.Failure == 0 {
		switch {
		case !only.Departs():
			return h.showForm(v, http.StatusOK, pages.Login{Username: v.flow.LoginHint})
		case !v.flow.Departed && !interaction.HasSignedOut(r, v.flow.Server.Issuer):
			return h.depart(v, only)
		}
	}
	return h.showChooser(v)
}

// follow follows the way that the user has chosen.
func (h *Handler) follow(v visit, way interaction.Way) error {
	if way.Departs() {
		return h.depart(v, way)
	}
	v.flow.Way, v.flow.Failure = way.UID(), 0
	sealed, err := h.Flows.Seal(v.flow.Flow, interaction.StepLogin)
	if err != nil {
		return err
	}
	v.sealed = sealed
	return h.showForm(v, http.StatusOK, pages.Login{Username: v.flow.LoginHint})
}

// url returns the URL of the login page.
func (v visit) url() (string, error) {
	return url.JoinPath(v.flow.Server.Issuer, interaction.PathLogin)
}

func (v visit) client() pages.Client {
	return pages.Client{DisplayName: v.flow.Client.DisplayName, ID: v.flow.Client.ID}
}
