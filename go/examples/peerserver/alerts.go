package main

// Alerts go to the log.

import (
	"context"
	"log/slog"

	corelane "github.com/corelane/corelane/go"
)

func (s *server) tellAlerts(ctx context.Context) {
	for alert, err := range s.monitor.Alerts(ctx) {
		if err != nil {
			slog.Error("alerts cannot be told", "error", err)
			return
		}
		level, what := slog.LevelWarn, string(alert.Severity)
		switch {
		case alert.Notification != nil && *alert.Notification == corelane.NotificationResolved:
			level, what = slog.LevelInfo, "resolved"
		case alert.Severity == corelane.SeverityCritical:
			level = slog.LevelError
		}
		slog.Log(ctx, level, "alert: "+what+": "+alert.Message)
	}
}
