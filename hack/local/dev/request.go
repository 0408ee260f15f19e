package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// requestCommand is the small part of curl that the printed commands use, for machines without it: -u, -d, --data-urlencode and -H, by
// curl's rules. The URL stands last. As with curl, an HTTP error is an answer.
func requestCommand(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("request", flag.ContinueOnError)
	user := flags.String("u", "", "user:password, for HTTP Basic")
	var form []string
	flags.Func("d", "name=value of a form, sent as it is", func(s string) error {
		form = append(form, s)
		return nil
	})
	flags.Func("data-urlencode", "name=value of a form, whose value is encoded", func(s string) error {
		name, value, _ := strings.Cut(s, "=")
		form = append(form, name+"="+url.QueryEscape(value))
		return nil
	})
	headers := http.Header{}
	flags.Func("H", "header: value", func(s string) error {
		name, value, found := strings.Cut(s, ":")
		if !found {
			return fmt.Errorf("a header has a colon")
		}
		headers.Add(name, strings.TrimSpace(value))
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("want one URL, after the flags, not %q", flags.Args())
	}

	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(strings.Join(form, "&"))
		if headers.Get("Content-Type") == "" {
			headers.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, flags.Arg(0), body)
	if err != nil {
		return err
	}
	request.Header = headers
	if *user != "" {
		name, password, _ := strings.Cut(*user, ":")
		request.SetBasicAuth(name, password)
	}
	response, err := http.DefaultTransport.RoundTrip(request) // as curl, it follows no redirect
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= http.StatusBadRequest {
		fmt.Fprintln(os.Stderr, response.Status)
	}
	if _, err := io.Copy(out, response.Body); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out)
	return err
}
