// A Hibernate application with HikariCP as its own pool: it connects, handles what could be requests, and uses
// transactions. Its phases: see checks.py.

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.Properties;
import org.hibernate.LockMode;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.Transaction;
import org.hibernate.cfg.Configuration;
import org.hibernate.connection.ConnectionProvider;

public class WithHibernate {
    static String host, port, user, password, database;

    public static class Item {
        private long id;
        private String name;
        private int price;

        public long getId() { return id; }
        public void setId(long id) { this.id = id; }
        public String getName() { return name; }
        public void setName(String name) { this.name = name; }
        public int getPrice() { return price; }
        public void setPrice(int price) { this.price = price; }
    }

    /** Hibernate's way to HikariCP. */
    public static class Connections implements ConnectionProvider {
        private HikariDataSource source;

        public void configure(Properties properties) {
            HikariConfig config = new HikariConfig();
            config.setJdbcUrl("jdbc:mariadb://" + host + ":" + port + "/" + database + "?useServerPrepStmts=true");
            config.setUsername(user);
            config.setPassword(password);
            config.setMaximumPoolSize(2);
            config.setMinimumIdle(1);
            config.setAutoCommit(false);
            config.setTransactionIsolation("TRANSACTION_READ_COMMITTED");
            source = new HikariDataSource(config);
        }

        public Connection getConnection() throws SQLException { return source.getConnection(); }
        public void closeConnection(Connection connection) throws SQLException { connection.close(); }
        public void close() { source.close(); }
        public boolean supportsAggressiveRelease() { return true; }
    }

    static void phase(String name) throws IOException {
        System.out.println(name);
        int read;
        do {
            read = System.in.read();
        } while (read != '\n' && read != -1);
    }

    static void check(boolean so) {
        if (!so) {
            throw new AssertionError();
        }
    }

    public static void main(String[] args) throws Exception {
        host = args[0];
        port = args[1];
        user = args[2];
        password = args[3];
        database = args[4];
        String mapping = "<!DOCTYPE hibernate-mapping PUBLIC '-//Hibernate/Hibernate Mapping DTD 3.0//EN'"
                + " 'http://www.hibernate.org/dtd/hibernate-mapping-3.0.dtd'><hibernate-mapping>"
                + "<class name='WithHibernate$Item' table='hibernate_item' lazy='false'>"
                + "<id name='id'><generator class='identity'/></id>"
                + "<property name='name' unique='true' length='20'/><property name='price'/></class></hibernate-mapping>";
        SessionFactory factory = new Configuration()
                .setProperty("hibernate.dialect", "org.hibernate.dialect.MySQL5InnoDBDialect")
                .setProperty("hibernate.connection.provider_class", "WithHibernate$Connections")
                .setProperty("hibernate.hbm2ddl.auto", "create")
                .setProperty("hibernate.bytecode.provider", "javassist")
                .addXML(mapping)
                .buildSessionFactory();
        phase("connected");

        for (int number = 0; number < 5; number++) {
            Session session = factory.openSession();
            Transaction transaction = session.beginTransaction();
            Item item = new Item();
            item.setName("item " + number);
            item.setPrice(number);
            session.save(item);
            check(item.getId() == number + 1);
            transaction.commit();
            session.close();
            phase("created " + number);
        }
        Session session = factory.openSession();
        Transaction transaction = session.beginTransaction();
        check(session.createQuery("from WithHibernate$Item where price > 2").list().size() == 2);
        phase("reading");
        transaction.commit();
        phase("read");

        transaction = session.beginTransaction();
        Item item = (Item) session.get(Item.class, 4L, LockMode.UPGRADE);
        item.setPrice(30);
        session.flush();
        phase("transaction");
        transaction.commit();
        session.close();
        phase("committed");
        factory.close();
    }
}
