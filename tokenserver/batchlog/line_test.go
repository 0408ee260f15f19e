package batchlog_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/batchlog"
)

// both returns the line that a logger of this package writes, and that of package slog.
func both(t *testing.T, write func(*slog.Logger)) (got, want string) {
	t.Helper()
	var ours, theirs bytes.Buffer
	log, flush := batchlog.New(&ours)
	write(log)
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	write(slog.New(slog.NewJSONHandler(&theirs, nil)))
	return ours.String(), theirs.String()
}

// handle passes a record on with a time of its own, so that two logs write the same.
func handle(t *testing.T, log *slog.Logger, at time.Time, level slog.Level, message string, attributes ...slog.Attr) {
	t.Helper()
	r := slog.NewRecord(at, level, message, 0)
	r.AddAttrs(attributes...)
	if err := log.Handler().Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func FuzzLinesAreThoseOfPackageSlog(f *testing.F) {
	f.Add(int64(0), 0, "request", "endpoint", "token", 200, int64(1500))
	f.Add(int64(1764374400123456789), 4, "a \"quoted\"\n", "\u2028", "<a&b>\x7f\xff", -1, int64(-1))
	f.Add(int64(1), 0, "a \"quoted\"\n", "endpoint", "token", 200, int64(1500))
	f.Add(int64(1), 0, "request", "\"", "token", 200, int64(1500))
	f.Add(int64(1), 0, "request", "endpoint", "\\", 200, int64(1500))
	f.Add(int64(1764374400120000000), -4, "", "", "", 0, int64(0))
	f.Add(int64(1), 3, "x", "bell\b", "\f", 1, int64(1))
	f.Fuzz(func(t *testing.T, at int64, level int, message, key, value string, number int, duration int64) {
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("", -12600)} {
			got, want := both(t, func(log *slog.Logger) {
				handle(t, log, time.Unix(0, at).In(zone), slog.Level(level), message, slog.String(key, value), slog.Int("status", number), slog.Duration(key, time.Duration(duration)))
			})
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
}

func TestLinesOfAnythingElseAreThoseOfPackageSlogToo(t *testing.T) {
	now := time.Now()
	for name, write := range map[string]func(*slog.Logger){
		"no attributes": func(log *slog.Logger) { handle(t, log, now, slog.LevelInfo, "starting") },
		"no time":       func(log *slog.Logger) { handle(t, log, time.Time{}, slog.LevelInfo, "starting", slog.Int("n", 1)) },
		"an error": func(log *slog.Logger) {
			handle(t, log, now, slog.LevelWarn, "m", slog.Any("error", errors.New("a\nb")))
		},
		"a list":             func(log *slog.Logger) { handle(t, log, now, slog.LevelInfo, "m", slog.Any("all", []string{"a"})) },
		"truth":              func(log *slog.Logger) { handle(t, log, now, slog.LevelInfo, "m", slog.Bool("tls", true)) },
		"a group":            func(log *slog.Logger) { handle(t, log, now, slog.LevelInfo, "m", slog.Group("g", "a", 1)) },
		"nothing":            func(log *slog.Logger) { handle(t, log, now, slog.LevelInfo, "m", slog.Attr{}, slog.Int("n", 1)) },
		"a logger's":         func(log *slog.Logger) { handle(t, log.With("a", "b"), now, slog.LevelInfo, "m", slog.Int("n", 1)) },
		"those of its group": func(log *slog.Logger) { handle(t, log.WithGroup("g"), now, slog.LevelInfo, "m", slog.Int("n", 1)) },
	} {
		if got, want := both(t, write); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
