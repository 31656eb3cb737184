import static org.codelibs.opensearch.runner.OpenSearchRunner.newConfigs;

import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One OpenSearch node on loopback: java Server.java PORT FOLDER. */
public final class Server {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.host", "127.0.0.1");
            settings.put("transport.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
        });
        // The runner listens on the base port plus the number of the node, which is 1.
        runner.build(newConfigs().basePath(arguments[1]).clusterName("corelane").numOfNode(1).baseHttpPort(port - 1));
        Thread.currentThread().join();
    }
}
