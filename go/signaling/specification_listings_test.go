// Code generated from testdata/listings by internal/listings. DO NOT EDIT.

package signaling_test

import (
	"context"
	"fmt"
	"log"
	"reflect"
	"time"

	. "github.com/corelane/corelane/go/signaling"
)

func listing01_messages(performanceMonitor *PerformanceMonitor, clientID, messageType string, processingTime time.Duration, success bool) {
	// 记录消息处理性能
	performanceMonitor.RecordMessageProcessing(clientID, messageType, processingTime, success)

	// 获取消息统计
	messageStats := performanceMonitor.GetMessageStats()
	fmt.Printf("平均延迟: %v", messageStats.AverageLatency)
	fmt.Printf("慢消息数量: %d", messageStats.SlowMessages)

}

func listing02_router(baseRouter BaseRouter, performanceMonitor *PerformanceMonitor, messageBytes []byte, clientID string) (_ *RouteResult, _ *ConcurrentMessageRouter, _ error) {
	// 创建并发路由器
	config := DefaultConcurrentRouterConfig()
	config.WorkerCount = 10
	config.LoadBalanceMode = "least_loaded"

	concurrentRouter := NewConcurrentMessageRouter(baseRouter, config, performanceMonitor)
	concurrentRouter.Start()

	// 路由消息（自动使用并发处理）
	result, err := concurrentRouter.RouteMessage(messageBytes, clientID)

	return result, concurrentRouter, err
}

func listing03_report(server *SignalingServer) (_ *DetailedPerformanceReport) {
	// 获取详细统计报告
	report := server.GetDetailedPerformanceReport()

	// 包含的统计信息：
	// - 服务器基础统计
	// - 消息处理统计
	// - 连接统计
	// - 系统资源统计
	// - 并发路由统计

	return report
}

func listing04_system(performanceMonitor *PerformanceMonitor, connectionStats *ConnectionStats) {
	// 获取系统统计
	systemStats := performanceMonitor.GetSystemStats()
	fmt.Printf("内存使用: %.2f MB", float64(systemStats.MemoryUsage.AllocatedBytes)/1024/1024)
	fmt.Printf("活跃连接: %d", connectionStats.ActiveConnections)

}

func listing05_monitor_config() (_ reflect.Type) {
	type PerformanceMonitorConfig struct {
		MonitorInterval         time.Duration // 监控间隔
		ReportInterval          time.Duration // 报告间隔
		SlowMessageThreshold    time.Duration // 慢消息阈值
		HighMemoryThreshold     uint64        // 高内存使用阈值
		HighConnectionThreshold int           // 高连接数阈值
		HighErrorRateThreshold  float64       // 高错误率阈值
		EnableConcurrentRouting bool          // 启用并发路由
		MaxConcurrentMessages   int           // 最大并发消息数
		DetailedStatsEnabled    bool          // 启用详细统计
	}

	return reflect.TypeFor[PerformanceMonitorConfig]()
}

func listing06_router_config() (_ reflect.Type) {
	type ConcurrentRouterConfig struct {
		WorkerCount       int           // 工作器数量
		QueueSize         int           // 队列大小
		MaxQueueWaitTime  time.Duration // 最大队列等待时间
		LoadBalanceMode   string        // 负载均衡模式
		ProcessingTimeout time.Duration // 处理超时时间
		EnableMetrics     bool          // 启用指标收集
	}

	return reflect.TypeFor[ConcurrentRouterConfig]()
}

func listing07_basic() (_ *PerformanceStats, _ *PerformanceMonitor) {
	// 1. 创建性能监控器
	config := DefaultPerformanceMonitorConfig()
	performanceMonitor := NewPerformanceMonitor(config)

	// 2. 启动监控
	performanceMonitor.Start()
	defer performanceMonitor.Stop()

	// 3. 记录性能数据
	performanceMonitor.RecordMessageProcessing("client1", "ping", 10*time.Millisecond, true)
	performanceMonitor.RecordConnectionEvent("connect", "client1", "app1")

	// 4. 获取统计信息
	stats := performanceMonitor.GetStats()

	return stats, performanceMonitor
}

func listing08_server(ctx context.Context, encoderConfig *EncoderConfig, mediaStream any, iceServers []ICEServer) (_ *SignalingServer, _ *PerformanceStats, _ *MessageProcessingStats, _ *ConnectionStats) {
	// 创建带性能监控的信令服务器
	server := NewSignalingServer(ctx, encoderConfig, mediaStream, iceServers)

	// 服务器自动包含性能监控功能
	server.Start() // 自动启动性能监控

	// 获取性能统计
	performanceStats := server.GetPerformanceStats()
	messageStats := server.GetMessageStats()
	connectionStats := server.GetConnectionStats()

	return server, performanceStats, messageStats, connectionStats
}

func listing09_alerts(performanceMonitor *PerformanceMonitor) {
	// 添加警报回调
	performanceMonitor.AddAlertCallback(func(alert *PerformanceAlert) {
		switch alert.Type {
		case "memory":
			log.Printf("内存使用过高: %v", alert.CurrentValue)
			// 执行内存清理操作
		case "connections":
			log.Printf("连接数过多: %v", alert.CurrentValue)
			// 限制新连接或清理无效连接
		case "error_rate":
			log.Printf("错误率过高: %v", alert.CurrentValue)
			// 检查系统状态或降级服务
		}
	})

}

func listing10_production() (_ *PerformanceMonitorConfig) {
	// 生产环境推荐配置
	config := &PerformanceMonitorConfig{
		MonitorInterval:         5 * time.Second,
		ReportInterval:          60 * time.Second,
		SlowMessageThreshold:    100 * time.Millisecond,
		HighMemoryThreshold:     2 * 1024 * 1024 * 1024, // 2GB
		HighConnectionThreshold: 10000,
		HighErrorRateThreshold:  0.01, // 1%
		EnableConcurrentRouting: true,
		MaxConcurrentMessages:   1000,
		DetailedStatsEnabled:    true,
	}

	return config
}

func listing13_debugging(config *PerformanceMonitorConfig, performanceMonitor *PerformanceMonitor) {
	// 启用详细日志
	config.EnableLogging = true

	// 降低监控间隔以获得更细粒度的数据
	config.MonitorInterval = 1 * time.Second

	// 启用详细统计
	config.DetailedStatsEnabled = true

	// 添加调试回调
	performanceMonitor.AddAlertCallback(func(alert *PerformanceAlert) {
		log.Printf("DEBUG: Alert details: %+v", alert.Details)
	})

}
