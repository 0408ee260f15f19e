package explain

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/terminal"
)

// Print writes the answer for people.
func (a Answer) Print(out io.Writer) {
	fmt.Fprintf(out, "%s, client id %s, at %s", a.Client, a.ClientID, a.Server)
	if a.Issuer != "" {
		fmt.Fprintf(out, " (%s)", a.Issuer)
	}
	fmt.Fprintln(out)
	if a.Rule != "" {
		fmt.Fprintf(out, "The rule %q in spec.allowedClients of the server allows it.\n", a.Rule)
	}
	printReasons(out, "\n", a.Reasons)
	a.printTable(out)
	for _, g := range a.GrantTypes {
		printReasons(out, "\n"+g.GrantType+":\n", g.Reasons)
	}
	for _, s := range a.Scopes {
		printReasons(out, "\n"+s.Scope+":\n", s.Reasons)
	}
	a.Users.print(out)
	if len(a.EndsSoon) > 0 {
		fmt.Fprintln(out, "\nEnds soon:")
	}
	for _, end := range a.EndsSoon {
		fmt.Fprintf(out, "  %s  %s\n", end.At.Format(time.RFC3339), terminal.Printable(end.Object+", "+end.Field+": "+end.Message))
	}
	for _, note := range a.Notes {
		fmt.Fprintf(out, "\nNote: %s.\n", terminal.Printable(note))
	}
}

func (a Answer) printTable(out io.Writer) {
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "GRANT TYPE\tSUCCEEDS\tTOKEN FOR\tSCOPES\tLIFETIME")
	for _, g := range a.GrantTypes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", g.GrantType, g.Succeeds,
			orDash(strings.Join(g.Audience, ",")), orDash(strings.Join(g.Scopes, ",")), orDash(ShortDuration(g.AccessTokenLifetime)))
	}
	_ = table.Flush() // the terminal may be gone
	if len(a.Scopes) == 0 {
		return
	}
	fmt.Fprintln(out)
	fmt.Fprintln(table, "SCOPE\tSUCCEEDS\tDECLARED BY")
	for _, s := range a.Scopes {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Scope, s.Succeeds, orDash(s.ResourceServer))
	}
	_ = table.Flush() // the terminal may be gone
}

func printReasons(out io.Writer, title string, reasons []Reason) {
	if len(reasons) > 0 {
		fmt.Fprint(out, title)
	}
	for _, r := range reasons {
		fmt.Fprintln(out, "  "+terminal.Printable(r.Object+", "+r.Field+": "+r.Message))
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// ShortDuration writes a duration as people do: "5m" for "5m0s", "1h" for "1h0m0s".
func ShortDuration(duration string) string {
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(duration, zero) {
			duration = strings.TrimSuffix(duration, zero[1:])
		}
	}
	return duration
}
