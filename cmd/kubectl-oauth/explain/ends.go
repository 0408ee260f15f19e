package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// End is something that works now and will not from a time on.
type End struct {
	// At is when.
	At time.Time `json:"at"`
	// Object and Field say so, as in a Reason.
	Object  string `json:"object"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// endsSoon lists what will end, in the order of the objects.
func (e *explanation) endsSoon() []End {
	var ends []End
	if until := timeOf(e.decision.LegacyUntil); e.decision.LegacyUntil != 0 && until.After(e.Now) {
		ends = append(ends, End{At: until, Object: e.answer.Server, Field: ruleField(e.answer.Rule) + ".legacyUntil",
			Message: "ends " + strings.Join(compile.LegacyGrants(e.Client), " and ") + ": use authorization_code with PKCE"})
	}
	if !e.Applied {
		return ends
	}
	for _, c := range e.Client.Status.Credentials {
		if c.State != v1alpha1.CredentialRetiring || c.RetireAfter == nil || c.RetireAfter.Time.Before(e.Now) {
			continue
		}
		message := fmt.Sprintf("the credential %q is replaced, and good until then", c.ID)
		if c.LastUsed != nil {
			message += ", and was last used about " + c.LastUsed.UTC().Format(time.RFC3339) + ": restart or reload what still has it"
		}
		ends = append(ends, End{At: c.RetireAfter.UTC(), Object: e.clientName(), Field: "status.credentials[" + c.ID + "]", Message: message})
	}
	return ends
}
