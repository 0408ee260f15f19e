package authorize

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// next is what comes next: a page, or the answer. Everything is decided anew each time, from the
// flow and from what is so now, so it does not matter by which link the browser got here.
func (h *Handler) next(w http.ResponseWriter, r *http.Request, v *interaction.ResolvedFlow) error {
	web.NoteGrantType(r.Context(), v.Flow.GrantTypes()[0])
	step, login, err := h.decide(r, v)
	switch {
	case err != nil:
		return fail(w, r, v, err)
	case step != 0:
		return h.Flows.RedirectTo(w, r, v, step)
	}
	values, err := h.result(v, login)
	if err != nil {
		return fail(w, r, v, err)
	}
	if err := h.Sessions.Touch(w, v.Server, login.session); err != nil {
		return err
	}
	return answer(w, v, values)
}

// login is who the answer is about.
type login struct {
	session *session.Session
	user    *registry.User
	// consentUID of the consent that the answer rests on; empty: it needs none.
	consentUID string
}

// decide which page is next; none if the answer is. Where prompt is none the page that would be
// next is an error (OpenID Connect Core section 3.1.2.6).
func (h *Handler) decide(r *http.Request, v *interaction.ResolvedFlow) (interaction.Step, *login, error) {
	if v.Flow.Denied {
		return 0, nil, oauth.Errorf(oauth.AccessDenied, "the user said no")
	}
	silent := v.Flow.HasPrompt(oauth.PromptNone)
	if silent && alwaysAsks(v) {
		return 0, nil, oauth.Errorf(oauth.InteractionRequired, "an app on the user's device is answered only after the user has seen a page")
	}
	found, user, err := h.Sessions.Current(r.Context(), r, v.Server)
	if err != nil {
		return 0, nil, err
	}
	inFlow := found != nil && v.Flow.LoginSession == found.Hash()
	switch {
	case found != nil && inFlow && !about(v.Flow, user):
		// The user signed in as someone else than the client asked for: another page would only ask
		// the same again.
		return 0, nil, oauth.Errorf(oauth.LoginRequired, "the user signed in as another one than the request is about")
	case found != nil && (inFlow || h.good(v.Flow, found, user)):
		// Go on with this login.
	case silent:
		return 0, nil, oauth.Errorf(oauth.LoginRequired, "the user has to sign in")
	default:
		return interaction.StepLogin, nil, nil
	}
	if err := h.cut(v); err != nil {
		return 0, nil, err
	}
	asks, consentUID, err := h.asksConsent(r.Context(), v, user)
	switch {
	case err != nil:
		return 0, nil, err
	case asks && silent:
		return 0, nil, oauth.Errorf(oauth.ConsentRequired, "the user has to agree")
	case asks:
		return interaction.StepConsent, nil, nil
	}
	return 0, &login{session: found, user: user, consentUID: consentUID}, nil
}

// good says whether a login from before this flow will do. One that the client wants to see happen
// (prompt login or select_account), or that is older than it accepts (max_age, of which 0 means the
// same as prompt login), will not: only a login inside the flow does then.
func (h *Handler) good(f *interaction.Flow, s *session.Session, user *registry.User) bool {
	if f.HasPrompt(oauth.PromptLogin) || f.HasPrompt(oauth.PromptSelectAccount) || !about(f, user) {
		return false
	}
	age := h.Now().Sub(time.Unix(s.AuthTime, 0))
	return f.MaxAge == interaction.NoMaxAge || f.MaxAge > 0 && age <= time.Duration(f.MaxAge)*time.Second
}

// about says whether the user is the one that the request is about, if it is about one.
func about(f *interaction.Flow, user *registry.User) bool {
	return len(f.Subjects) == 0 || slices.Contains(f.Subjects, user.Subject)
}

// cut the scopes to what the client and the resource servers allow now.
func (h *Handler) cut(v *interaction.ResolvedFlow) error {
	_, remaining, err := v.Client.ResolveAudience(v.Flow.Scopes, v.Flow.Resources)
	if err != nil {
		return err
	}
	if len(remaining) == 0 && slices.ContainsFunc(v.Flow.Scopes, oauth.IsAPIScope) {
		return oauth.Errorf(oauth.InvalidScope, "the client may no longer have what it asked for")
	}
	v.Flow.Scopes = remaining
	return checkOpenID(v)
}

// alwaysAsks: a public client that is answered at a loopback or private-use URI could be any
// program on the user's device (RFC 8252 section 8.6).
func alwaysAsks(v *interaction.ResolvedFlow) bool {
	return v.Client.IsPublic() && redirecturi.IsNative(v.RedirectURI)
}

// asksConsent says whether the user has to see the consent page, and else which consent the answer
// rests on. Even a yes in this flow counts only while it is stored: it may have been withdrawn
// since. An answer that was given after a yes rests on it, also where none was needed.
func (h *Handler) asksConsent(ctx context.Context, v *interaction.ResolvedFlow, user *registry.User) (asks bool, consentUID string, err error) {
	agreed := v.Flow.ConsentingUser == user.UID
	switch {
	case !agreed && (v.Flow.HasPrompt(oauth.PromptConsent) || alwaysAsks(v)):
		return true, "", nil
	case !agreed && !needsConsent(v):
		return false, "", nil
	}
	consentUID, err = h.Consents.FindCovering(ctx, user.UID, v.Client.UID, v.RequestedConsent())
	return consentUID == "", consentUID, err
}

// needsConsent says whether the answer has to rest on a stored consent. A client that is registered
// to skip it still needs one for offline_access, which outlives the session (OpenID Connect Core
// section 11).
func needsConsent(v *interaction.ResolvedFlow) bool {
	return v.Client.Consent != documents.ConsentSkip || slices.Contains(v.Flow.Scopes, oauth.ScopeOfflineAccess)
}
